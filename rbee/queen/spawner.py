"""Workers that jobs need and nobody has yet: one spawn per place, however many jobs wait for it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rbee import log
from rbee.adapters import clocks
from rbee.daemon.closing import closing
from rbee.errors import InsufficientMemory, InsufficientVram, RbeeError
from rbee.orchestrator_core.jobs import ATTEMPTS, backoff_s
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.view import Key
from rbee.queen.pools import Pools
from rbee.wire.workers import SpawnEvent, WorkerSpec

SEEN_S = 10.0
"""A heartbeat tells of the new worker long before this."""

FAILED_S = 60.0
"""For so long after it failed for good a place is none for a worker that could be elsewhere, or is only a spare one."""

_FULL = (InsufficientVram, InsufficientMemory)
Noted: TypeAlias = Callable[[Key, str, str, str, int], Awaitable[None]]
"""Worker, decision, why, for which job, and when."""


@dataclass(slots=True)
class Need:
    """A worker somebody waits for. ``bytes`` is what it will take of its device."""

    message: str
    bytes: int
    job: str
    why: str
    task: "asyncio.Task[None] | None" = None
    failures: int = 0
    began_s: float = 0.0
    began_ms: int = 0
    not_before_s: float = 0.0


class Spawner:
    """
    Args:
        noted: takes down what was decided about a worker.
        done: called when a spawn ended: with the place, and the error once it is certain that there will be no worker.
        changed: called when there is something new to say to those who wait.
    """

    def __init__(
        self,
        pools: Pools,
        *,
        done: Callable[[Place, RbeeError | None], None],
        noted: Noted,
        changed: Callable[[], None],
    ) -> None:
        self._pools = pools
        self._noted = noted
        self._done = done
        self._changed = changed
        self._needs: dict[Place, Need] = {}
        self._failures: dict[Place, float] = {}

    def ask(self, place: Place, spec: WorkerSpec, takes: int, *, job: str, why: str) -> str:
        """See to it that a worker comes up at ``place``, where it takes so many bytes; return how far that is."""
        message = f"starting a worker for {place.model} on {place.pool}"
        need = self._needs.setdefault(place, Need(message, takes, job, why))
        if need.task is None and time.monotonic() >= need.not_before_s:
            need.began_s, need.began_ms = time.monotonic(), clocks.wall_ms()
            need.task = asyncio.create_task(self._spawn(place, spec, need), name=f"spawn-{place.pool}-{place.model}")
        return need.message

    def spawning(self) -> Mapping[Place, int]:
        """Return where workers are being made now, and the bytes each takes."""
        return {place: need.bytes for place, need in self._needs.items() if need.task is not None}

    def failed(self) -> Collection[Place]:
        """Return where a spawn has failed lately; one that is tried again is not meant once it is."""
        now_s = time.monotonic()
        self._failures = {place: until_s for place, until_s in self._failures.items() if until_s > now_s}
        pausing = {place for place, need in self._needs.items() if need.task is None and need.not_before_s > now_s}
        return pausing | self._failures.keys()

    def elapsed_ms(self, place: Place) -> float:
        """Return how long a worker has been in the making at ``place``."""
        need = self._needs.get(place)
        return 0.0 if need is None or need.task is None else (time.monotonic() - need.began_s) * 1000

    def next_due_s(self) -> float | None:
        """Return when a pause after a failure ends; None when there is none."""
        now_s = time.monotonic()
        return min(
            (n.not_before_s for n in self._needs.values() if n.task is None and n.not_before_s > now_s), default=None
        )

    async def close(self) -> None:
        """Leave the spawns to their pools."""
        tasks = [need.task for need in self._needs.values() if need.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _spawn(self, place: Place, spec: WorkerSpec, need: Need) -> None:
        error: RbeeError | None = None
        try:
            worker = await self._follow(place, spec, need)
            log.event("worker.spawned", worker=worker, pool=place.pool, model=place.model)
            await self._noted((place.pool, worker), "spawn", need.why, need.job, need.began_ms)
            await self._pools.until(lambda: self._pools.status(place.pool, worker) is not None, SEEN_S)
        except RbeeError as failed:
            error = failed
            if isinstance(failed, _FULL):
                await self._pools.refresh()
        need.task = None
        if error is None:
            del self._needs[place]
            self._failures.pop(place, None)
        else:
            self._failed(place, need, error)
        final = error is not None and place not in self._needs
        self._done(place, error if final else None)

    async def _follow(self, place: Place, spec: WorkerSpec, need: Need) -> str:
        """Return the id of the new worker."""
        spawning = self._pools.client(place.pool).spawn_worker(spec)
        async with closing(spawning) as events:
            async for event in events:
                if event.worker is not None and event.state == "ready":
                    return event.worker.id
                need.message = _told(place, event)
                self._changed()
        raise RbeeError(f"pool {place.pool} ended the spawn of {place.model} without a result")

    def _failed(self, place: Place, need: Need, error: RbeeError) -> None:
        """What may pass is tried again after a pause; the rest, and the fifth failure, are final.

        A place that seemed to have room and had none may pass, too: its pool knows better, and has told by then.
        """
        need.failures += 1
        again = (error.retriable or isinstance(error, _FULL)) and need.failures < ATTEMPTS
        log.warning("worker.not_spawned", pool=place.pool, model=place.model, error=error.message, code=error.code)
        if not again:
            del self._needs[place]
            self._failures[place] = time.monotonic() + FAILED_S
            return
        pause_s = backoff_s(need.failures, random.random())  # noqa: S311  (jitter, no secret)
        need.not_before_s = time.monotonic() + pause_s
        need.message = f"{error.message}; trying again in {pause_s:.0f} s"


def _told(place: Place, event: SpawnEvent) -> str:
    how_far = "" if event.progress is None or "%" in event.message else f"{event.progress:.0%}"
    said = ", ".join(each for each in (event.message, how_far) if each)
    return f"starting a worker for {place.model} on {place.pool}{': ' if said else ''}{said}"
