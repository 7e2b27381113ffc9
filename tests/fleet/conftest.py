import pytest

from tests.fleet.house import NAMES, House
from tests.rig.plugin import Hosts


@pytest.fixture(scope="module")
def house(module_hosts: Hosts) -> House:
    """Three hosts for a module, acquainted by ssh; each with the small model, sockets up, nothing on the LAN."""
    made = House(module_hosts(*NAMES))
    made.introduce()
    made.configure()
    for name in NAMES:
        made.lab(name).give_tiny()
    return made
