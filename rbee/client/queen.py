"""A queen over HTTP: every operation of ``wire.operations.QUEEN``; streams that survive her restart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from rbee import wire
from rbee.client.endpoint import part
from rbee.client.operations import Operations
from rbee.errors import PoolUnreachable, ShuttingDown, Timeout
from rbee.wire import codec

if TYPE_CHECKING:
    from rbee.wire.catalog import ModelEntry
    from rbee.wire.events import JobEvent
    from rbee.wire.jobs import Explanation, JobQuery, JobSpec, JobStatus
    from rbee.wire.pools import Capabilities, PoolRegistration, PoolSnapshot, PoolStatus, Version
    from rbee.wire.workers import SpawnEvent, WorkerExplanation, WorkerSpec, WorkerStatus

AWAY_S = 60.0
"""How long a stream waits for a queen that went away, before it says so."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
STOPPING_S = 120.0


class QueenClient(Operations):
    """``QueenOps`` at the other end of ``http``."""

    async def submit_job(self, spec: JobSpec) -> JobStatus:
        return await self._post(wire.jobs.JobStatus, "/v2/tasks", spec)

    async def list_jobs(self, query: JobQuery) -> tuple[JobStatus, ...]:
        return await self._list(wire.jobs.JobStatus, "/v2/tasks", codec.plain(query))

    async def get_job(self, job: str) -> JobStatus:
        return await self._get(wire.jobs.JobStatus, f"/v2/tasks/{part(job)}")

    async def job_events(self, job: str, after: int = 0) -> AsyncIterator[tuple[int, JobEvent]]:
        """Yield the events after ``after``, each once, to the last; a cut connection is taken up where it was cut.

        Raises:
            PoolUnreachable: the queen stayed away for ``AWAY_S``.
        """
        import asyncio  # noqa: PLC0415  (who asks but once has no loop)

        gone_since: float | None = None
        pause_s = _PAUSE_S
        finished = False
        while True:
            known = after
            try:
                async for number, event in self._events_from(job, after):
                    gone_since, pause_s = None, _PAUSE_S
                    after = number
                    yield number, event
                    if wire.events.last(event):
                        return
                if finished and after == known:
                    return  # it had ended before it was asked, and there was nothing more
                finished, gone_since = (await self.get_job(job)).state.finished, None
                if finished:
                    continue  # what it said since the stream ended is yet to be read
            except (PoolUnreachable, ShuttingDown, Timeout):
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > AWAY_S:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def cancel_job(self, job: str) -> None:
        await self._http.call("DELETE", f"/v2/tasks/{part(job)}")

    async def explain_job(self, job: str) -> Explanation:
        return await self._get(wire.jobs.Explanation, f"/v2/tasks/{part(job)}/explain")

    async def list_pools(self) -> tuple[PoolStatus, ...]:
        return await self._list(wire.pools.PoolStatus, "/v2/pools")

    async def get_pool(self, pool: str) -> PoolStatus:
        return await self._get(wire.pools.PoolStatus, f"/v2/pools/{part(pool)}")

    async def register_pool(self, pool: str, registration: PoolRegistration) -> PoolStatus:
        return await self._post(wire.pools.PoolStatus, f"/v2/pools/{part(pool)}/register", registration)

    async def heartbeat(self, pool: str, snapshot: PoolSnapshot) -> None:
        await self._http.call("POST", f"/v2/pools/{part(pool)}/heartbeat", body=snapshot)

    async def drain_pool(self, pool: str, deadline_s: float | None = None) -> None:
        spec = wire.pools.DrainSpec(deadline_s=deadline_s)
        await self._http.call("POST", f"/v2/pools/{part(pool)}/drain", body=spec)

    async def undrain_pool(self, pool: str) -> None:
        await self._http.call("POST", f"/v2/pools/{part(pool)}/undrain")

    async def remove_pool(self, pool: str) -> None:
        await self._http.call("DELETE", f"/v2/pools/{part(pool)}")

    async def list_workers(self) -> tuple[WorkerStatus, ...]:
        return await self._list(wire.workers.WorkerStatus, "/v2/workers")

    async def spawn_worker(self, spec: WorkerSpec, pool: str | None = None) -> AsyncIterator[SpawnEvent]:
        async for event in self._follow(wire.workers.SpawnEvent, "/v2/workers", spec, {"pool": pool}):
            yield event

    async def stop_worker(self, worker: str) -> None:
        await self._http.call("DELETE", f"/v2/workers/{part(worker)}", timeout_s=STOPPING_S)

    async def explain_workers(self) -> tuple[WorkerExplanation, ...]:
        return await self._list(wire.workers.WorkerExplanation, "/v2/workers/explain")

    async def list_models(self) -> tuple[ModelEntry, ...]:
        return await self._list(wire.catalog.ModelEntry, "/v2/models")

    async def version(self) -> Version:
        return await self._get(wire.pools.Version, "/v2/meta/version")

    async def capabilities(self) -> Capabilities:
        return await self._get(wire.pools.Capabilities, "/v2/meta/capabilities")

    def _events_from(self, job: str, after: int) -> AsyncIterator[tuple[int, JobEvent]]:
        headers = {"Last-Event-ID": str(after)} if after else None
        return wire.events.follow(self._http.stream("GET", f"/v2/tasks/{part(job)}/events", headers=headers))
