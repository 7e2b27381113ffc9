"""``QueenOps`` for one asker: what he may do, done."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from rbee import __version__, log
from rbee.daemon.closing import closing
from rbee.errors import Conflict, NotFound, NotPermitted
from rbee.orchestrator_core import explain, places
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.registry import status_of, workers_of
from rbee.orchestrator_core.timeline import timeline
from rbee.orchestrator_core.view import View
from rbee.queen.models import models_of
from rbee.queen.newcomer import Asker
from rbee.queen.queen import Queen
from rbee.queen.store import jobs, workers
from rbee.wire.catalog import ModelEntry
from rbee.wire.events import JobEvent
from rbee.wire.jobs import Explanation, JobQuery, JobSpec, JobStatus
from rbee.wire.pools import Capabilities, PoolRegistration, PoolSnapshot, PoolStatus, Version
from rbee.wire.workers import SpawnEvent, WorkerDecision, WorkerExplanation, WorkerSpec, WorkerState, WorkerStatus

DECISIONS, DECISIONS_EACH = 500, 10
"""So many of the last decisions about workers are looked through, and shown of each."""


class QueenService:
    """The operator may do everything; a named caller may submit, and see and cancel his own jobs."""

    def __init__(self, queen: Queen, asker: Asker) -> None:
        self._queen = queen
        self._asker = asker

    async def submit_job(self, spec: JobSpec) -> JobStatus:
        stored, _ = await asyncio.shield(self._queen.submit(spec, self._asker))
        return stored.status

    async def list_jobs(self, query: JobQuery) -> tuple[JobStatus, ...]:
        found = await self._queen.store.read(jobs.search, query, self._asker.caller or None)
        view = self._queen.dispatcher.view()
        return tuple(self._queen.shown(status, view) for status in found)

    async def get_job(self, job: str) -> JobStatus:
        return self._queen.shown((await self._queen.find(job, self._asker)).status)

    async def job_events(self, job: str, after: int = 0) -> AsyncIterator[tuple[int, JobEvent]]:
        stored = await self._queen.find(job, self._asker)
        async with closing(self._queen.entries(stored, after)) as entries:
            async for entry in entries:
                event = entry.read()
                if event is not None:
                    yield entry.id, event

    async def cancel_job(self, job: str) -> None:
        stored = await self._queen.find(job, self._asker)
        live = self._queen.jobs.live.get(stored.status.id)
        if live is not None:
            await self._queen.cancel(live)

    async def explain_job(self, job: str) -> Explanation:
        stored = await self._queen.find(job, self._asker)
        status = self._queen.shown(stored.status)
        decisions = await self._queen.store.read(jobs.decisions, stored.seq)
        about_workers = await self._queen.store.read(workers.for_job, status.id)
        decisions = timeline(status, decisions, about_workers)
        live = self._queen.jobs.live.get(stored.status.id)
        if live is not None and live.id in self._queen.jobs.queue:
            decisions = (*decisions, *self._queen.dispatcher.considering(live))
        return Explanation(id=status.id, state=status.state, reason=status.reason, decisions=decisions)

    async def list_pools(self) -> tuple[PoolStatus, ...]:
        self._operator("list pools")
        return tuple(status_of(pool) for pool in self._queen.pools.view())

    async def get_pool(self, pool: str) -> PoolStatus:
        self._operator("look at pools")
        return status_of(self._queen.pools.find(pool))

    async def register_pool(self, pool: str, registration: PoolRegistration) -> PoolStatus:
        self._operator("register pools")
        return status_of(await self._queen.pools.register(pool, registration))

    async def heartbeat(self, pool: str, snapshot: PoolSnapshot) -> None:
        self._operator("speak for pools")
        if snapshot.id != pool:
            raise Conflict(f"the snapshot is of pool {snapshot.id}, its address says {pool}")
        await self._queen.pools.heartbeat(snapshot)

    async def drain_pool(self, pool: str, deadline_s: float | None = None) -> None:
        self._operator("drain pools")
        await self._queen.pools.set_draining(pool, True, deadline_s)

    async def undrain_pool(self, pool: str) -> None:
        self._operator("undrain pools")
        await self._queen.pools.set_draining(pool, False)

    async def remove_pool(self, pool: str) -> None:
        self._operator("remove pools")
        await self._queen.pools.remove(pool)

    async def list_workers(self) -> tuple[WorkerStatus, ...]:
        self._operator("list workers")
        return tuple(worker for pool in self._queen.pools.view() for worker in workers_of(pool))

    async def spawn_worker(self, spec: WorkerSpec, pool: str | None = None) -> AsyncIterator[SpawnEvent]:
        """Pass on what the pool says; without ``pool`` the one is taken that has the model and most memory free."""
        self._operator("spawn workers")
        where = pool or places.pool_for(spec, self._queen.pools.view(), self._queen.jobs.names)
        async with closing(self._queen.pools.client(where).spawn_worker(spec)) as spawning:
            async for event in spawning:
                yield event

    async def stop_worker(self, worker: str) -> None:
        """Stop ``worker``; where two pools have one of that name, ``<pool>:<worker>`` says which."""
        self._operator("stop workers")
        pool, name = self._whose(worker)
        await self._queen.pools.client(pool).stop_worker(name)
        log.event("worker.stopped", worker=name, pool=pool)

    async def explain_workers(self) -> tuple[WorkerExplanation, ...]:
        self._operator("look at workers")
        decided = await self._queen.store.read(workers.decisions, DECISIONS)
        view = self._queen.dispatcher.view()
        there = [(pool, worker) for pool in view.fleet.pools for worker in workers_of(pool)]
        gone = sorted(decided.keys() - {(pool.id, worker.id) for pool, worker in there})
        return (
            *(_explained(pool, worker, view, decided.get((pool.id, worker.id), ())) for pool, worker in there),
            *(_gone(pool, worker, decided[pool, worker]) for pool, worker in gone),
        )

    async def list_models(self) -> tuple[ModelEntry, ...]:
        await self._queen.pools.spoken()
        return models_of(self._queen.jobs.names, self._queen.pools.view())

    async def version(self) -> Version:
        return Version(name="queen-rbee", version=__version__)

    async def capabilities(self) -> Capabilities:
        snapshots = [pool.snapshot for pool in self._queen.pools.view() if pool.snapshot is not None]
        settings = self._queen.settings
        return Capabilities(
            version=__version__,
            backends=tuple(sorted({backend for snapshot in snapshots for backend in snapshot.backends})),
            models=tuple(sorted({model.id for snapshot in snapshots for model in snapshot.models})),
            limits={
                "body_bytes": settings.body_limit_bytes,
                "queue_capacity": settings.queue_capacity,
                "job_s": int(settings.job_limit_s),
                "job_max_s": int(settings.job_limit_max_s),
                "connections": settings.connections,
            },
        )

    def _operator(self, what: str) -> None:
        if self._asker.caller:
            raise NotPermitted(
                f"caller {self._asker.caller} may not {what}", hint="this takes the fleet token; ask the operator"
            )

    def _whose(self, worker: str) -> tuple[str, str]:
        pool, colon, name = worker.partition(":")
        if colon:
            self._queen.pools.find(pool)
            return pool, name
        having = [view.id for view in self._queen.pools.view() if view.worker(worker) is not None]
        if not having:
            raise NotFound(f"no pool has a worker {worker}", hint="rbee-keeper pool worker list")
        if len(having) > 1:
            raise Conflict(
                f"{len(having)} pools have a worker {worker}: {', '.join(having)}",
                hint=f"say which: {having[0]}:{worker}",
                details={"pools": having},
            )
        return having[0], worker


def _explained(
    pool: PoolView, worker: WorkerStatus, view: View, decided: Sequence[WorkerDecision]
) -> WorkerExplanation:
    key = (pool.id, worker.id)
    idle_s = view.idle_s(key)
    return WorkerExplanation(
        id=f"{pool.id}:{worker.id}",
        pool=pool.id,
        worker=worker.id,
        model=worker.model,
        state=worker.state,
        jobs=view.in_flight.get(key, 0),
        idle_ms=None if idle_s == float("inf") else int(idle_s * 1000),
        need_bytes=worker.need_bytes,
        sentence=explain.worker_sentence(key, worker, view),
        decisions=tuple(decided[-DECISIONS_EACH:]),
    )


def _gone(pool: str, worker: str, decided: Sequence[WorkerDecision]) -> WorkerExplanation:
    """Return what is remembered of a worker that is no more."""
    return WorkerExplanation(
        id=f"{pool}:{worker}",
        pool=pool,
        worker=worker,
        model="",
        state=WorkerState.STOPPED,
        sentence="is there no more",
        decisions=tuple(decided[-DECISIONS_EACH:]),
    )
