"""rbee-keeper policy test: what a script would have decided."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbee.adapters.policy import PolicyScript
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import InvalidRequest, NotFound, PolicyFailed
from rbee.keeper.samples import SAMPLES
from rbee.orchestrator_core.policy import in_words
from rbee.wire.words import counted

_LONGEST_LINE_BYTES = 16 << 20
_RECORD = "[queen] record names the file that decisions go to"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``id`` is the line of the record; ``failed`` says that the script made no decision, and ``would_be`` why."""

    id: int
    line: int
    job: str
    model: str
    priority: str
    waited_ms: int
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
        for each in report.differences:
            output.text(_paragraph(each))
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
    context, was, failed = row["context"], row["decision"], False
    try:
        answer = script.decide(context)
        would_be = context["builtin"] if answer is None else answer
    except PolicyFailed as error:
        would_be, failed = error.message, True
    if would_be == was or (not failed and _waits(would_be) and _waits(was)):
        return None  # in other words it is the same
    job = context["job"]
    return Difference(
        id=line,
        line=line,
        job=str(job["id"]),
        model=str(job.get("model", "")),
        priority=str(job.get("priority", "")),
        waited_ms=int(job.get("waited_ms") or 0),
        was=in_words(was),
        would_be=in_words(would_be),
        failed=failed,
    )


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
        raise NotFound(f"{path}: {error.strerror}", hint=_RECORD) from None


def _row(path: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
        whole = "id" in row["context"]["job"] and "builtin" in row["context"] and "decision" in row
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise InvalidRequest(f"{path}, line {number}, is no recorded decision: {line[:60]!r}", hint=_RECORD)
    return dict(row)


def _paragraph(each: Difference) -> str:
    """Return which decision it is, and both answers below each other: they are sentences, too long for a table."""
    return (
        f"line {each.line}: {each.job}, {each.model}, {each.priority}, waited {each.waited_ms / 1000:.1f} s\n"
        f"    {'was:':<10}{each.was}\n"
        f"    {'fails:' if each.failed else 'would be:':<10}{each.would_be}\n"
    )


def _summary(report: Report, source: str) -> str:
    failed = sum(each.failed for each in report.differences)
    kinds = Counter(f"{_kind(each.was)} to {_kind(each.would_be)}" for each in report.differences if not each.failed)
    turned = "".join(f"    {count} from {kind}\n" for kind, count in kinds.most_common())
    return (
        f"{counted(report.decisions, 'decision')} of {source}: {kinds.total()} would differ, {failed} failed, "
        f"the slowest took {report.slowest_ms:.1f} ms\n{turned}"
    )


def _kind(words: str) -> str:
    return words.split(maxsplit=1)[0].rstrip(":")
