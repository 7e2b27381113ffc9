"""What workers wrote to the journal, and how they ended."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rbee.adapters.process import run
from rbee.errors import RbeeError
from rbee.pool_core import names
from rbee.wire.workers import LogLine, WorkerExit

ENDED = "worker.ended"
LAST_LINES = 12
_SEARCHED = 200  # entries; the end is among the last few of its worker
_DYNAMIC_UIDS = range(61184, 65520)  # systemd.exec(5): only services with DynamicUser= have one of these
_NOT_OURS = ("SYSLOG_", "CODE_", "JOB_", "INVOCATION_ID", "USER_", "UNIT", "MESSAGE", "PRIORITY", "TID")

Entry = Mapping[str, Any]


class Journal:
    """Reads with journalctl, as whoever we are: user rbee is in group systemd-journal, anybody sees their own."""

    def __init__(self, *, user: bool) -> None:
        self._user = user

    async def logs(self, worker: str, lines: int) -> tuple[LogLine, ...]:
        """Return the last ``lines`` lines of a worker and of systemd about it, oldest first."""
        entries = await self._entries("--unit", names.service(worker), "--lines", str(lines))
        return tuple(log_line(entry) for entry in entries)

    async def last_exit(self, worker: str) -> WorkerExit | None:
        """Return how its last process ended; None when the journal does not tell, or not to us."""
        entries = await self._entries(f"WORKER={worker}", "--lines", str(_SEARCHED))
        ends = [entry for entry in entries if self._is_end(entry, worker)]
        if not ends:
            return None
        run_id = ends[-1].get("_SYSTEMD_INVOCATION_ID") or ends[-1].get("INVOCATION_ID")
        around = await self._entries("--unit", names.service(worker), "--lines", str(_SEARCHED))
        told = [_text(entry.get("MESSAGE")) for entry in around if run_id is None or run_id in _invocations(entry)]
        return worker_exit(ends[-1], told[-LAST_LINES:])

    async def last_words(self, unit: str) -> str:
        """Return why a unit's own process ended: the reason it gave, else its last line; empty when there is none."""
        entries = await self._entries("--unit", unit, "--lines", "20")
        own = [entry for entry in entries if unit in (entry.get("_SYSTEMD_UNIT"), entry.get("_SYSTEMD_USER_UNIT"))]
        return _text(own[-1].get("REASON") or own[-1].get("MESSAGE")) if own else ""

    def _is_end(self, entry: Entry, worker: str) -> bool:
        """Say whether this is the post-mortem's entry, and not one that somebody else wrote in its name.

        The process is gone soon after it wrote: journald may then know its uid, but no longer its unit.
        """
        if not _text(entry.get("MESSAGE")).startswith(f"{ENDED} ") or "RESULT" not in entry:
            return False
        if self._user:
            return True
        unit = entry.get("_SYSTEMD_UNIT")
        return bool(unit == names.service(worker) or (unit is None and int(entry.get("_UID", 0)) in _DYNAMIC_UIDS))

    async def _entries(self, *arguments: str) -> list[Entry]:
        scope = ["--user"] if self._user else []
        argv = ["journalctl", "--quiet", "--no-pager", "--output=json", "--all", *scope, *arguments]
        try:
            done = await run(argv, check=False)
        except RbeeError:
            return []
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _invocations(entry: Entry) -> tuple[object, ...]:
    """Return the ids of the run an entry is from, or (systemd's own entries) about."""
    return tuple(entry.get(key) for key in ("_SYSTEMD_INVOCATION_ID", "INVOCATION_ID", "USER_INVOCATION_ID"))


def log_line(entry: Entry) -> LogLine:
    """Return an entry of ``journalctl -o json`` as a line."""
    return LogLine(
        at_ms=_number(entry.get("__REALTIME_TIMESTAMP")) // 1000,
        priority=_number(entry.get("PRIORITY", 6)),
        message=_text(entry.get("MESSAGE")),
        fields={key: _text(value) for key, value in entry.items() if not key.startswith(("_", *_NOT_OURS))},
    )


def worker_exit(entry: Entry, log: Sequence[str]) -> WorkerExit:
    """Return what the post-mortem's entry says. On cgroup v1 systemd only knows of a signal; ``OOM`` knows better."""
    result = _text(entry.get("RESULT"))
    return WorkerExit(
        result=result,
        code="/".join(word for word in (_text(entry.get("CODE")), _text(entry.get("STATUS"))) if word),
        memory_peak_bytes=_number(entry.get("PEAK_BYTES")) or None,
        memory_limit_bytes=_number(entry.get("LIMIT_BYTES")) or None,
        oom=_text(entry.get("OOM")) == "yes" or result == "oom-kill",
        at_ms=_number(entry.get("__REALTIME_TIMESTAMP")) // 1000,
        log=tuple(log),
    )


def _number(value: object) -> int:
    text = _text(value)
    return int(text) if text.isdigit() else 0


def _text(value: object) -> str:
    """Return a field's text: journalctl gives what is no UTF-8 as a list of numbers, a repeated field as a list."""
    if isinstance(value, list):
        if value and all(isinstance(item, int) for item in value):
            return bytes(value).decode("utf-8", "replace")
        return _text(value[0]) if value else ""
    return "" if value is None else str(value)
