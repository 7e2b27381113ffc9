"""What came of a run: one document for a host, shown as json, junit or text. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal

from rbee.wire import junit

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. ``expected``, ``found``, ``mend`` and, on NixOS, ``nixos`` are a failure's, ``reason`` is a skip's."""

    id: str
    group: str
    title: str
    outcome: Outcome
    expected: str = ""
    found: str = ""
    mend: str = ""
    nixos: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """All checks of one host, in the order they were made."""

    id: str
    ok: bool
    passed: int
    failed: int
    skipped: int
    duration_s: float
    checks: tuple[Check, ...]


def host_report(host: str, checks: tuple[Check, ...], duration_s: float) -> HostReport:
    """Return the document for ``host``."""
    count = {outcome: sum(check.outcome == outcome for check in checks) for outcome in ("passed", "failed", "skipped")}
    return HostReport(
        id=host,
        ok=not count["failed"],
        passed=count["passed"],
        failed=count["failed"],
        skipped=count["skipped"],
        duration_s=round(duration_s, 3),
        checks=checks,
    )


def as_json(report: HostReport) -> str:
    return json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n"


def as_text(report: HostReport) -> str:
    """Return a line for each group, each failure with its finding, and the sum."""
    lines = []
    for group, members in groupby(report.checks, key=lambda check: check.group):
        checks = tuple(members)
        lines.append(f"{group:<9} {_counts(checks)}")
        for check in checks:
            if check.outcome == "failed":
                lines += [f"  {check.title}", *_finding(check)]
    verdict = "fit" if report.ok else "not fit"
    lines.append(f"{report.id}: {verdict}, {_counts(report.checks)} in {report.duration_s:.1f} s")
    return "\n".join(lines) + "\n"


def as_junit(report: HostReport) -> str:
    cases = [_case(report.id, check) for check in report.checks]
    return junit.document([junit.Suite(name=f"rbee.verify {report.id}", time_s=report.duration_s, cases=cases)])


def _case(host: str, check: Check) -> junit.Case:
    failed = check.outcome == "failed"
    return junit.Case(
        classname=f"{host}.{check.group}",
        name=check.id,
        failure="\n".join(line.strip() for line in _finding(check)) if failed else "",
        message=f"{check.title}: found {check.found}",
        skipped=check.reason if check.outcome == "skipped" else None,
    )


FORMS: Mapping[str, Callable[[HostReport], str]] = {"text": as_text, "json": as_json, "junit": as_junit}


def _counts(checks: tuple[Check, ...]) -> str:
    words = (
        (outcome, sum(check.outcome == outcome for check in checks)) for outcome in ("passed", "failed", "skipped")
    )
    return ", ".join(f"{number} {outcome}" for outcome, number in words if number)


def _finding(check: Check) -> list[str]:
    rows = (("expected", check.expected), ("found", check.found), ("mend", check.mend), ("nixos", check.nixos))
    return [f"    {name:<9} {text}" for name, text in rows if text]
