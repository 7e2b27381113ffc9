import pytest

from tests.rig.host import Host
from tests.systemd.lab import Lab


@pytest.fixture
def lab(host: Host) -> Lab:
    """A fresh host with rbee's sockets up."""
    return Lab(host)


@pytest.fixture(scope="module")
def shared(module_host: Host) -> Lab:
    """A host for a whole module, with the small model on it; tests clean up their workers."""
    made = Lab(module_host)
    made.give_tiny()
    return made
