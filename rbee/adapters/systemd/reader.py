"""Everything about workers that systemd tells anybody who may speak to it."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from rbee.adapters.journal import Journal
from rbee.adapters.secrets import Secrets
from rbee.adapters.systemd.bus import SERVICE, Bus
from rbee.adapters.systemd.facts import argv_of, unit_facts
from rbee.adapters.systemd.watch import CHANGED, JOB_REMOVED, UNIT_REMOVED, Watch
from rbee.errors import InsufficientMemory, NotFound, RbeeError, Timeout
from rbee.pool_core import held, names
from rbee.pool_core.lifecycle import GONE
from rbee.pool_core.ports import HeldFacts, HoldPlan, StartProgress, UnitFacts
from rbee.pool_core.unit import Mode, NotAWorker, Place, plan_from_argv
from rbee.wire.workers import LogLine, WorkerExit

JOURNAL_MS = 1000  # between the end of a process and the moment journald shows what was written about it
_WORKERS_PATH = b"/rbee_2dworker_2d"  # as D-Bus spells rbee-worker-
START_SLACK_S = 60.0  # systemd's own TimeoutStartSec= ends a start; this only ends our waiting should systemd not


class UnitReader:
    """The half of UnitManager that needs no privilege."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.mode = place.mode
        self.secrets = Secrets(place.secrets, mode=0o640 if place.mode is Mode.SYSTEM else 0o600)
        self._journal = Journal(user=place.mode is Mode.USER)
        self._start_limit_s = place.load_timeout_s + START_SLACK_S

    async def list(self) -> tuple[UnitFacts, ...]:
        return await asyncio.to_thread(self._read, names.UNIT_PATTERN)

    async def find(self, worker: str) -> UnitFacts | None:
        found = await asyncio.to_thread(self._read, names.stem(worker) + ".*")
        return next((facts for facts in found if facts.id == worker), None)

    async def held(self) -> tuple[HeldFacts, ...]:
        return await asyncio.to_thread(self._held)

    async def secret(self, worker: str) -> str:
        return await asyncio.to_thread(self.secrets.read, worker)

    async def last_exit(self, worker: str) -> WorkerExit | None:
        """Return how its last process ended; None also while the post-mortem of one that just ended is not out yet."""
        told = await self._journal.last_exit(worker)
        facts = await self.find(worker)
        if facts is not None and facts.service_state == "deactivating":
            return None
        return told or _exit_by_result(facts, time.time() * 1000)

    async def logs(self, worker: str, lines: int) -> tuple[LogLine, ...]:
        return await self._journal.logs(worker, lines)

    async def require(self, worker: str) -> UnitFacts:
        """Return the worker's facts.

        Raises:
            NotFound: there is no such worker.
        """
        facts = await self.find(worker)
        if facts is None:
            raise NotFound(f"no worker {worker}", hint="rbee-hive worker list")
        return facts

    def address(self, facts: UnitFacts) -> str:
        """Return where the worker listens."""
        return plan_from_argv(facts.argv).address

    async def follow_start(
        self, worker: str, wake: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[StartProgress, None]:
        """Yield what the service says of itself from ``wake`` on, until its start job is over.

        Raises:
            Timeout: systemd did not end the job.
        """
        following = self._follow(names.service(worker), wake)
        async with contextlib.aclosing(following):
            async for progress in following:
                yield progress

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever a worker's service has started or ended, whoever made it: a connection, itself, systemd."""
        async with Watch(self.mode, within=_WORKERS_PATH) as watch:
            async for member, _, body in watch.announcements():
                if member == CHANGED and isinstance(body[1], dict) and b"ActiveState" in body[1]:
                    yield

    async def until_asleep(self, worker: str, within_s: float) -> None:
        """Return when the worker's service has ended.

        Raises:
            NotFound: there is no such worker. Timeout: it went on.
        """
        unit = names.service(worker)
        try:
            async with asyncio.timeout(within_s), Watch(self.mode, unit) as watch:
                if (await self.require(worker)).service_state in GONE:
                    return
                async for member, _, body in watch.announcements():
                    changed = body[1] if member == CHANGED and isinstance(body[1], dict) else {}
                    if _text(changed.get(b"ActiveState")) in GONE:
                        return
        except TimeoutError:
            raise Timeout(f"{unit} had not ended after {within_s:.0f} s", hint=f"systemctl status {unit}") from None

    async def until_gone(self, worker: str, within_s: float) -> None:
        """Return when systemd has forgotten both units of the worker.

        Raises:
            Timeout: it went on.
        """
        unit = names.service(worker)
        try:
            async with asyncio.timeout(within_s), Watch(self.mode) as watch:
                if not await asyncio.to_thread(self._loaded, worker):
                    return
                async for member, _, body in watch.announcements():
                    ours = member == UNIT_REMOVED and _text(body[0]) in (unit, names.socket(worker))
                    if ours and not await asyncio.to_thread(self._loaded, worker):
                        return
        except TimeoutError:
            raise Timeout(f"{unit} had not ended after {within_s:.0f} s", hint=f"systemctl status {unit}") from None

    async def _follow(self, unit: str, wake: Callable[[], Awaitable[None]]) -> AsyncGenerator[StartProgress, None]:
        now = StartProgress(sub_state="", status_text="")
        try:
            async with asyncio.timeout(self._start_limit_s), Watch(self.mode, unit) as watch:
                await wake()
                async for member, _, body in watch.announcements():
                    if member == JOB_REMOVED and body[2].decode() == unit:
                        yield await self._ended(unit, now, body[3].decode())
                        return
                    following = _changed(now, body) if member == CHANGED else now
                    if following != now:
                        now = following
                        yield now
        except TimeoutError:
            raise Timeout(
                f"{unit} was not up after {self._start_limit_s:g} s", hint=f"systemctl status {unit}"
            ) from None

    async def follow_hold(self, plan: HoldPlan, wake: Callable[[], Awaitable[None]]) -> None:
        """Wait until the unit that ``wake`` starts holds its model.

        Raises:
            InsufficientMemory, RbeeError: it does not; with the reason that its journal gives.
        """
        unit = held.service(plan.model)
        result = ""
        async for progress in self._follow(unit, wake):
            result = progress.result
        if result == "done":
            return
        said = await self._journal.last_words(unit)
        kind = InsufficientMemory if result == "oom-kill" or "annot allocate" in said else RbeeError
        raise kind(
            f"{plan.model} cannot be held in memory: {said or result}",
            hint="a user may lock as much as ulimit -l says: LimitMEMLOCK= of user@.service"
            if self.mode is Mode.USER
            else "prlimit --memlock --pid 1 shows what this machine, or its container, allows at most",
            details={"result": result, "needed_bytes": plan.size_bytes},
        )

    def _held(self) -> tuple[HeldFacts, ...]:
        with Bus(self.mode) as bus:
            listed = bus.call(b"ListUnitsByPatterns", b"asas", [], [held.UNIT_PATTERN.encode()]) or []
            found = [(row[0].decode(), row[3].decode()) for row in listed]
            return tuple(facts for unit, state in found if (facts := _holding(bus, unit, state)) is not None)

    async def _ended(self, unit: str, now: StartProgress, job_result: str) -> StartProgress:
        result = job_result
        if job_result != "done":
            properties = await asyncio.to_thread(self._service_properties, unit)
            result = _text(properties.get("Result")) or job_result
            result = job_result if result == "success" else result
        return StartProgress(sub_state=now.sub_state, status_text=now.status_text, done=True, result=result)

    def _service_properties(self, unit: str) -> dict[str, Any]:
        with Bus(self.mode) as bus:
            return bus.properties(unit, SERVICE)

    def _loaded(self, worker: str) -> bool:
        """Say whether systemd has either unit in memory."""
        with Bus(self.mode) as bus:
            pair = [names.socket(worker).encode(), names.service(worker).encode()]
            return bool(bus.call(b"ListUnitsByPatterns", b"asas", [], pair))

    def _read(self, pattern: str) -> tuple[UnitFacts, ...]:
        with Bus(self.mode) as bus:
            listed = bus.call(b"ListUnitsByPatterns", b"asas", [], [pattern.encode()]) or []
            rows = {row[0].decode(): (row[3].decode(), row[4].decode()) for row in listed}
            stems = sorted({name.rpartition(".")[0] for name in rows if name.endswith((".socket", ".service"))})
            found = [_pair(bus, stem, rows) for stem in stems]
        return tuple(facts for facts in found if facts is not None)


def _pair(bus: Bus, stem: str, rows: Mapping[str, tuple[str, str]]) -> UnitFacts | None:
    """Return the facts of one pair; None when it is not ours, or went away while we looked."""
    unit = f"{stem}.service"
    if unit not in rows:
        return None
    properties = bus.properties(unit, SERVICE)
    argv = argv_of(properties)
    try:
        worker = plan_from_argv(argv).id
    except NotAWorker:
        return None
    service, sub = rows[unit]
    states = {"service": service, "service_sub": sub, "socket": rows.get(f"{stem}.socket", ("inactive", ""))[0]}
    facts = unit_facts(worker, argv, service=properties, states=states)
    return dataclasses.replace(
        facts,
        since_ms=bus.timestamp_us(unit, b"StateChangeTimestamp") // 1000 or None,
        load_ms=_load_ms(bus, unit),
        made_ms=bus.timestamp_us(f"{stem}.socket", b"ActiveEnterTimestamp") // 1000 or None,
        program_missing=_is_gone(Path(argv[0])),
    )


def _load_ms(bus: Bus, unit: str) -> int | None:
    """Return how long the last start took; None while it starts, or when it never did."""
    began_us, ready_us = (
        bus.timestamp_us(unit, name) for name in (b"InactiveExitTimestampMonotonic", b"ActiveEnterTimestampMonotonic")
    )
    return (ready_us - began_us) // 1000 if 0 < began_us <= ready_us else None


def _holding(bus: Bus, unit: str, state: str) -> HeldFacts | None:
    try:
        return HeldFacts(model=held.model_of(argv_of(bus.properties(unit, SERVICE))), state=state)
    except NotAWorker:
        return None


def _is_gone(program: Path) -> bool:
    try:
        program.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # not for our eyes, which says nothing of systemd's
        return False
    return False


def _changed(now: StartProgress, body: Any) -> StartProgress:
    """Return ``now`` with what a PropertiesChanged signal says."""
    changed = body[1] if isinstance(body[1], dict) else {}
    return StartProgress(
        sub_state=_text(changed.get(b"SubState")) or now.sub_state,
        status_text=_text(changed.get(b"StatusText")) or now.status_text,
    )


def _exit_by_result(facts: UnitFacts | None, now_ms: float) -> WorkerExit | None:
    """Return what the unit itself remembers, for when the journal cannot be read.

    It knows less (an OOM kill is any signal on cgroup v1), so the journal is given its time first.
    """
    if facts is None or facts.result in ("", "success"):
        return None
    if facts.since_ms is not None and now_ms - facts.since_ms < JOURNAL_MS:
        return None
    return WorkerExit(
        result=facts.result,
        oom=facts.result == "oom-kill",
        memory_limit_bytes=facts.memory_limit_bytes,
        at_ms=facts.since_ms or 0,
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
