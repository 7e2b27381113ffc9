"""pytest plugin: hosts as fixtures.

    def test_it_works(host):                       a fresh host, ``blep``, with rbee installed
    def test_two(hosts):                           hosts("blep", "workstation"): fresh ones, booted side by side
    def test_cheap(module_host):                   one host, ``shared``, for all tests of a module
    def test_house(module_hosts):                  module_hosts("blep", "mac"): hosts for all tests of a module
    def test_link(host, controller):               the side the test itself runs on

    pytestmark = pytest.mark.bare_host             hosts without rbee, so nothing has to be installed first

A test that uses any of these gets the marker ``systemd``. When one was selected, pytest goes on inside the rig's
namespaces once collection is done, the same process as far as anybody can see. A machine that cannot do this is
an error and not a skip; ``-m "not systemd"`` asks for the other tests only.

When such a test fails, console and journal of its hosts are under ``$RBEE_TEST_ARTIFACTS`` or ``build/rig``.
"""

import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.rig import namespace, stage
from tests.rig.controller import Controller
from tests.rig.errors import RigError
from tests.rig.host import Host

RIG = pytest.StashKey[tuple[str, stage.Stage | None]]()
CONTROLLER = pytest.StashKey[Controller]()
MARKERS = (
    "systemd: runs on real systemd hosts, so it needs root (set by itself)",
    "bare_host: its hosts have no rbee installed",
)


class Hosts(Protocol):
    """Makes fresh hosts, up when it returns; they are gone when the test is."""

    def __call__(self, *names: str, rbee: bool = True) -> Mapping[str, Host]:
        """Return the hosts by name."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the rig's options."""
    group = parser.getgroup("rig", "systemd hosts for tests")
    group.addoption("--no-rbee", action="store_true", help="boot hosts without rbee, whatever a test asks for")


def pytest_configure(config: pytest.Config) -> None:
    """Announce the rig's markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the rig, before ``-m`` is looked at."""
    for item in items:
        if _needs_rig(item):
            item.add_marker("systemd")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Go on inside the rig when a selected test needs it."""
    items = [item for item in session.items if _needs_rig(item)]
    config = session.config
    if not items or config.option.collectonly:
        return
    wants_rbee = any(not _bare(item, config) for item in items)
    with _uncaptured(config):
        try:
            if found := namespace.obstacles():
                raise RigError("; ".join(found))
            staged = stage.build() if wants_rbee else None
            config.stash[RIG] = (namespace.enter(), staged)
        except RigError as error:
            raise pytest.UsageError(
                f"{len(items)} of these tests need systemd hosts, and this machine cannot run them: {error}\n"
                'To run the other tests only: make unit, or pytest -m "not systemd"'
            ) from error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save what the hosts of a failed test can tell, while they are there, and say where it is."""
    report = yield
    controller = item.config.stash.get(CONTROLLER, None)
    if report.failed and controller is not None and _needs_rig(item):
        directory = _artifacts(item) / report.when
        for host in controller.hosts.values():
            host.save_evidence(directory / host.name)
        report.sections.append(("systemd hosts", f"console and journal of each host: {directory}"))
    return report


@pytest.fixture(scope="session")
def controller(pytestconfig: pytest.Config) -> Iterator[Controller]:
    """The rig's own side."""
    made = Controller(*pytestconfig.stash[RIG])
    pytestconfig.stash[CONTROLLER] = made
    yield made
    made.close()


@pytest.fixture
def hosts(request: pytest.FixtureRequest, controller: Controller) -> Iterator[Hosts]:
    """A maker of fresh hosts: ``hosts("blep", "workstation")``."""
    with _maker(request.node, controller) as make:
        yield make


@pytest.fixture
def host(hosts: Hosts) -> Host:
    """A fresh host called ``blep``."""
    return hosts("blep")["blep"]


@pytest.fixture(scope="module")
def module_host(request: pytest.FixtureRequest, controller: Controller) -> Iterator[Host]:
    """A host called ``shared``, the same for all tests of a module; they leave it as they found it."""
    with _maker(request.node, controller) as make:
        yield make("shared")["shared"]


@pytest.fixture(scope="module")
def module_hosts(request: pytest.FixtureRequest, controller: Controller) -> Iterator[Hosts]:
    """A maker of hosts that stay for all tests of a module."""
    with _maker(request.node, controller) as make:
        yield make


@contextmanager
def _maker(node: pytest.Item | pytest.Module, controller: Controller) -> Iterator[Hosts]:
    made: list[str] = []
    bare = _bare(node, node.config)

    def make(*names: str, rbee: bool = True) -> Mapping[str, Host]:
        made.extend(name for name in names if name not in controller.hosts)
        return controller.create(names, rbee=rbee and not bare)

    yield make
    controller.discard(made)


@contextmanager
def _uncaptured(config: pytest.Config) -> Iterator[None]:
    """Let the processes that stay behind have the real standard output and error."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    with capture.global_and_fixture_disabled():
        yield


def _needs_rig(item: pytest.Item) -> bool:
    return "controller" in getattr(item, "fixturenames", ())


def _bare(node: pytest.Item | pytest.Module, config: pytest.Config) -> bool:
    return bool(config.option.no_rbee) or node.get_closest_marker("bare_host") is not None


def _artifacts(item: pytest.Item) -> Path:
    top = os.environ.get("RBEE_TEST_ARTIFACTS") or item.config.rootpath / "build" / "rig"
    return Path(top, re.sub(r"[^\w.-]+", "-", item.nodeid))
