"""A plan becomes a worker: units that systemd grants, started, and what is said of those that did not come up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from rbee.errors import Conflict, NotFound, RbeeError
from rbee.pool_core import failure, lifecycle, placement
from rbee.pool_core.ports import PoolFacts, PortTaken, UnitFacts, UnitManager, WorkerPlan
from rbee.wire.workers import SpawnEvent, WorkerExit

LOOKS_S = (0.0, 0.3, 0.7, 1.0)
"""systemd notices the end of a process at once, its journal a moment later."""


class Starter:
    """Makes and starts workers.

    Args:
        now_ms: the clock, milliseconds since the epoch.
    """

    def __init__(self, facts: PoolFacts, units: UnitManager, now_ms: Callable[[], int]) -> None:
        self._facts, self._units, self._now_ms = facts, units, now_ms

    async def create(self, plan: WorkerPlan) -> WorkerPlan:
        """Make the units under the first id and on the first port that systemd grants."""
        known = [lifecycle.status(facts) for facts in await self._units.list()]
        tries = placement.Candidates(
            plan,
            self._facts,
            ids={worker.id for worker in known},
            ports={placement.port_of(worker.address) for worker in known},
        )
        while True:
            try:
                await self._units.create(tries.current)
            except PortTaken:
                tries.port_was_taken()
            except Conflict:
                if not tries.id_was_taken():
                    raise
            else:
                return tries.current

    async def start(self, plan: WorkerPlan) -> AsyncIterator[SpawnEvent]:
        began_ms = self._now_ms()
        progress = self._units.start(plan.id)
        async with contextlib.aclosing(progress):  # type: ignore[type-var]  # each is a generator
            async for now in progress:
                if now.done and now.result != "done":
                    raise await self._failed(plan, now.result, began_ms)
                yield SpawnEvent(
                    state="progress", progress=lifecycle.progress(now.status_text), message=now.status_text
                )

    async def _failed(self, plan: WorkerPlan, result: str, began_ms: int) -> RbeeError:
        """Return why the start failed, and take the units away."""
        ended = await self._end_since(began_ms, plan.id)
        if ended is None:
            ended = WorkerExit(result=result, memory_limit_bytes=plan.memory_bytes, oom=result == "oom-kill")
        with contextlib.suppress(NotFound):
            await self._units.stop(plan.id)
        return failure.start_failure(plan.id, plan.model, ended)

    async def _end_since(self, began_ms: int, worker: str) -> WorkerExit | None:
        """Return how this start ended, without a code only where the journal never tells: the unit knows less."""
        ended = None
        for pause_s in LOOKS_S:
            await asyncio.sleep(pause_s)
            found = await self._units.last_exit(worker)
            if found is not None and found.at_ms >= began_ms:
                ended = found
                if found.code:
                    break
        return ended

    async def own_exit(self, facts: UnitFacts) -> WorkerExit | None:
        """Return how this worker's last process ended, not that of an earlier one of its name."""
        ended = await self._units.last_exit(facts.id)
        if ended is None or (facts.made_ms is not None and ended.at_ms < facts.made_ms):
            return None
        return ended
