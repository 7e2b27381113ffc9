"""rbee-keeper policy test: what a script would have decided."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbee.adapters.policy import PolicyScript
from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.errors import InvalidRequest, NotFound, PolicyFailed
from rbee.keeper.samples import SAMPLES
from rbee.wire.words import counted

_DIFFERENCES = (
    Column("LINE", "line", right=True),
    Column("JOB", "job"),
    Column("WAS", "was"),
    Column("WOULD BE", "would_be"),
)
_LONGEST_LINE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``id`` is the line of the record; ``failed`` says that the script made no decision."""

    id: int
    line: int
    job: str
    was: str
    would_be: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    decisions: int
    slowest_ms: float
    differences: tuple[Difference, ...]


def test(args: Args, output: Output) -> int:
    """Try a script on recorded decisions, or on samples; exit 65 when it failed on any."""
    script = PolicyScript.load(Path(args["<file>"]))
    record = args["--record"]
    rows = _recorded(Path(record)) if record else iter(enumerate(SAMPLES, 1))
    report = _replayed(script, rows)
    if output.as_json:
        output.facts(report, {})
    else:
        output.table(report.differences, _DIFFERENCES, none="no decision differs")
        output.text(_summary(report, record or "the built-in samples"))
    return PolicyFailed.exit_code if any(each.failed for each in report.differences) else 0


def _replayed(script: PolicyScript, rows: Iterator[tuple[int, Mapping[str, Any]]]) -> Report:
    """A script that returns None leaves it to the built-in, whose mind is in the record."""
    decisions, slowest_s, found = 0, 0.0, []
    for line, row in rows:
        began_s = time.monotonic()
        difference = _difference(script, line, row)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        decisions += 1
        if difference is not None:
            found.append(difference)
    return Report(decisions=decisions, slowest_ms=round(slowest_s * 1000, 2), differences=tuple(found))


def _difference(script: PolicyScript, line: int, row: Mapping[str, Any]) -> Difference | None:
    context, was = row["context"], row["decision"]
    job, failed = str(context["job"]["id"]), False
    try:
        answer = script.decide(context)
        would_be = context["builtin"] if answer is None else answer
    except PolicyFailed as error:
        would_be, failed = error.message, True
    if would_be == was or (not failed and _waits(would_be) and _waits(was)):
        return None  # in other words it is the same
    return Difference(id=line, line=line, job=job, was=_shown(was), would_be=_shown(would_be), failed=failed)


def _waits(action: Any) -> bool:
    return isinstance(action, dict) and action.get("action") == "wait"


def _recorded(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the lines of a record.

    Raises:
        NotFound, InvalidRequest: names the file, and the line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE_BYTES), b""), 1):
                yield number, _row(path, number, line)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}", hint="[queen] record names the file that decisions go to") from None


def _row(path: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
        whole = "id" in row["context"]["job"] and "builtin" in row["context"] and "decision" in row
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise InvalidRequest(f"{path}, line {number}, is no recorded decision: {line[:60]!r}")
    return dict(row)


def _shown(action: Any) -> str:
    """Return ``dispatch blep:worker-cpu-0``."""
    if not isinstance(action, dict):
        return str(action)
    match action.get("action"):
        case "dispatch" | "evict_worker":
            return f"{action['action']} {action.get('pool')}:{action.get('worker')}"
        case "start_worker":
            gpu = "" if action.get("gpu") is None else f" gpu {action['gpu']}"
            return f"start_worker {action.get('pool')} {action.get('backend')}{gpu}"
        case "wait":
            return f"wait: {action.get('reason')}"
    return json.dumps(action)


def _summary(report: Report, source: str) -> str:
    failed = sum(each.failed for each in report.differences)
    differ = len(report.differences) - failed
    return (
        f"{counted(report.decisions, 'decision')} of {source}: {differ} would differ, {failed} failed, "
        f"the slowest took {report.slowest_ms:.1f} ms\n"
    )
