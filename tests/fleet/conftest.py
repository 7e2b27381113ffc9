from collections.abc import Iterator

import pytest

from rbee.wire.events import End
from tests.fleet.house import NAMES, House
from tests.fleet.moving import AWAY, LONG, ready_workers
from tests.rig.plugin import Hosts
from tests.systemd.story import Story


@pytest.fixture(scope="module")
def house(module_hosts: Hosts) -> House:
    """Three hosts for a module, acquainted by ssh; each with the small model, sockets up, nothing on the LAN."""
    made = House(module_hosts(*NAMES))
    made.introduce()
    made.configure()
    for name in NAMES:
        made.lab(name).give_tiny()
    return made


@pytest.fixture(scope="module")
def fleet(house: House) -> Iterator[House]:
    """The queen on blep, and pools on the other two; blep's own takes nothing."""
    house.rbee("orchestrator", "listen", "8080")
    for name in AWAY:  # a busy machine takes longer than the usual 5 s to let jobs move; logind then waits no more
        house.hosts[name].write("/etc/systemd/logind.conf.d/patient.conf", "[Login]\nInhibitDelayMaxSec=60\n")
        house.hosts[name].run(["systemctl", "restart", "systemd-logind.service"])
    for name in NAMES:
        house.rbee("pool", "register", name)
    house.rbee("pool", "drain", "blep")
    ready_workers(house)
    yield house


@pytest.fixture(scope="module")
def text(fleet: House) -> str:
    """What the job says when nothing happens to it."""
    with Story(fleet.lab("blep"), LONG) as story:
        assert isinstance(story.finish(), End)
    return story.text
