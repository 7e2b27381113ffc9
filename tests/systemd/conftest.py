import pytest

from tests.rig.errors import RigError
from tests.rig.host import Host
from tests.systemd import packages
from tests.systemd.lab import Lab

PACKAGES = pytest.StashKey[packages.Packages]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Build Debian packages where a selected test wants them, before the rig, which has no network, is entered."""
    config = session.config
    wanted = any("debs" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not config.option.collectonly:
        try:
            config.stash[PACKAGES] = packages.build()
        except RigError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def debs(pytestconfig: pytest.Config) -> packages.Packages:
    """The Debian packages of this checkout and of a later version."""
    return pytestconfig.stash[PACKAGES]


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
