"""Runs the suite in this process, without a word of pytest's own, and gathers what came of it."""

import contextlib
import io
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.verify.conftest import WANTED
from rbee.verify.facts import Unreachable
from rbee.verify.report import Check, HostReport, host_report
from rbee.verify.unmet import Finding, Unmet
from rbee.verify.wanted import Wanted

QUIET = (
    "--disable-plugin-autoload",
    "-p",
    "testinfra.plugin",
    "-p",
    "no:cacheprovider",
    "-c",
    "/dev/null",
    "-q",
    "--tb=no",
    "--assert=plain",
)
SSH = "-o BatchMode=yes -o ConnectTimeout=10"


class HostUnreachable(Exception):
    """ssh did not get there, or found no Python; the sentence says which."""


class Gatherer:
    """The pytest plugin that listens."""

    def __init__(self, wanted: Wanted) -> None:
        self.checks: list[Check] = []
        self.unreachable = ""
        self._wanted = wanted
        self._titles: dict[str, tuple[str, str]] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[WANTED] = self._wanted

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._titles[item.nodeid] = check_id(item), getattr(item, "obj", item).__doc__ or item.name

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]  # noqa: ANN201
        report = yield
        if (
            call.excinfo is not None
            and isinstance(call.excinfo.value, Unreachable | LookupError)
            and call.when == "setup"
        ):
            self.unreachable = str(call.excinfo.value)
            item.session.shouldstop = self.unreachable
        if report.when == "call" or (report.when == "setup" and not report.passed):
            facts = getattr(item, "funcargs", {}).get("facts")
            self.checks.append(self._check(report, call, on_nixos=facts is not None and facts["nixos"] is not None))
        return report

    def _check(self, report: pytest.TestReport, call: pytest.CallInfo[None], *, on_nixos: bool) -> Check:
        name, title = self._titles[report.nodeid]
        group = name.partition(".")[0]
        if report.passed:
            return Check(id=name, group=group, title=title, outcome="passed")
        if report.skipped:
            reason = getattr(call.excinfo and call.excinfo.value, "msg", None) or "does not apply"
            return Check(id=name, group=group, title=title, outcome="skipped", reason=reason)
        finding = _finding(call)
        return Check(
            id=name,
            group=group,
            title=title,
            outcome="failed",
            expected=finding.expected,
            found=finding.found,
            mend=finding.mend,
            nixos=finding.nixos if on_nixos else "",
        )


def check_id(item: pytest.Item) -> str:
    """Return ``sockets.pool_socket_is_active`` for that check."""
    name = getattr(item, "originalname", None) or item.name
    return f"{item.path.stem.removeprefix('test_')}.{name.removeprefix('test_')}"


def run(host: str, options: Sequence[str], wanted: Wanted) -> HostReport:
    """Run every check against the host that ``options``, testinfra's own, lead to.

    Raises:
        HostUnreachable: nobody could be asked there.
        RbeeError: pytest itself could not run.
    """
    gatherer = Gatherer(wanted)
    said = io.StringIO()
    started = time.monotonic()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main([str(Path(__file__).parent), *QUIET, *options], plugins=[gatherer])
    if gatherer.unreachable:
        raise HostUnreachable(gatherer.unreachable)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RbeeError(f"the checks could not be run: {said.getvalue().strip()[-2000:]}")
    return host_report(host, tuple(gatherer.checks), time.monotonic() - started)


def _finding(call: pytest.CallInfo[None]) -> Finding:
    """Return what a failed check says; of one that could not be made at all, why."""
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, Unmet):
        return error.finding
    return Finding(
        expected="the check can be made",
        found=f"{type(error).__name__}: {error}",
        mend="rbee-hive status --format json",
    )
