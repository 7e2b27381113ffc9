"""The fixtures of the suite, and how its failures read in plain pytest."""

from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import pytest

from rbee.verify.facts import Facts, Unreachable, look
from rbee.verify.host import Host
from rbee.verify.unmet import Unmet
from rbee.verify.wanted import Wanted

WANTED = pytest.StashKey[Wanted]()
_LOOKED = pytest.StashKey[dict[str, Facts | Exception]]()


GROUPS = (
    *("system", "systemd", "sockets", "users", "sandbox", "cgroups", "gpu", "models", "declared", "disk", "memory"),
    *("clock", "network", "queen", "secrets", "versions", "nixos"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let groups follow each other from the ground up: what a check stands on comes before it."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    group = item.path.stem.removeprefix("test_")
    return GROUPS.index(group) if item.path.parent == Path(__file__).parent else -1


@pytest.fixture(scope="module")
def facts(host: Host, pytestconfig: pytest.Config) -> Facts:
    """What the host is like. Each host is asked once in a run."""
    looked = pytestconfig.stash.setdefault(_LOOKED, {})
    spec = host.backend.get_pytest_id()
    if spec not in looked:
        try:
            looked[spec] = look(host)
        except (Unreachable, LookupError) as error:
            looked[spec] = error
    found = looked[spec]
    if isinstance(found, Exception):
        raise found
    return found


@pytest.fixture(scope="session")
def wanted(pytestconfig: pytest.Config) -> Wanted:
    """What the run was told beside the host."""
    return pytestconfig.stash.get(WANTED, None) or Wanted.from_environ()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a failed check say what was expected, found and how to mend it, and no more."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, Unmet):
        finding = call.excinfo.value.finding
        report.longrepr = "\n".join((getattr(item, "obj", item).__doc__ or item.name, *finding.lines()))
        report.user_properties += asdict(finding).items()
    return report
