"""Workers that have to go: evicted for another model, or no longer needed. Each is asked once, whoever wants it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

from rbee import log
from rbee.adapters import clocks
from rbee.client.pool import PoolClient
from rbee.errors import RbeeError
from rbee.orchestrator_core.eviction import Victim
from rbee.orchestrator_core.view import Key
from rbee.queen.pools import Pools
from rbee.wire.workers import WorkerState

SEEN_S = 10.0
"""A heartbeat tells that it is gone long before this."""

PAUSE_S = 2.0
"""After a refusal; whoever refused has got work meanwhile."""


class Evictor:
    """
    Args:
        noted: takes down what was decided about a worker.
        changed: called when a decision may come out differently.
    """

    def __init__(
        self, pools: Pools, *, noted: Callable[[Key, str, str, str, int], Awaitable[None]], changed: Callable[[], None]
    ) -> None:
        self._pools = pools
        self._noted = noted
        self._changed = changed
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._refused: dict[Key, float] = {}

    @property
    def leaving(self) -> Collection[Key]:
        """Return who is on the way out, and who has just refused to go and is not to be asked again at once."""
        now_s = time.monotonic()
        self._refused = {key: until_s for key, until_s in self._refused.items() if until_s > now_s}
        return self._tasks.keys() | self._refused.keys()

    def evict(self, victim: Victim, *, model: str, job: str) -> None:
        """Have ``victim`` give its memory to ``model``."""
        key = (victim.pool, victim.worker)
        if key not in self._tasks:
            why = f"evicted for {model}: it {victim.why}"
            self._begin(key, self._go(key, why, job, lambda pool: pool.evict_worker(victim.worker)))

    def retire(self, key: Key) -> None:
        """Have a spare worker go that nobody needs any more."""
        if key not in self._tasks:
            why = "stopped: it was made for a deep queue, which is empty"
            self._begin(key, self._go(key, why, "", lambda pool: pool.stop_worker(key[1])))

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: Key, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[key] = asyncio.create_task(work, name=f"evict-{key[0]}-{key[1]}")

    async def _go(self, key: Key, why: str, job: str, ask: Callable[[PoolClient], Awaitable[None]]) -> None:
        pool, worker = key
        try:
            at_ms = clocks.wall_ms()
            await ask(self._pools.client(pool))
            log.event("worker.evicted", worker=worker, pool=pool, job=job or None, why=why)
            await self._noted(key, "evict" if job else "retire", why, job, at_ms)
            await self._pools.until(lambda: self._is_gone(key), SEEN_S)
        except RbeeError as error:
            log.warning("worker.not_evicted", worker=worker, pool=pool, code=error.code, error=error.message)
            self._refused[key] = time.monotonic() + PAUSE_S
        finally:
            del self._tasks[key]
            self._changed()

    def _is_gone(self, key: Key) -> bool:
        status = self._pools.status(*key)
        return status is None or status.state in (WorkerState.ASLEEP, WorkerState.STOPPED, WorkerState.FAILED)
