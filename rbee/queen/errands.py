"""Jobs that a worker has: carried there, carried on after a cut or a restart, settled when it comes to nothing."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee import log
from rbee.client.worker import WorkerClient
from rbee.errors import NoCapacity, NotFound, PoolUnreachable, QueueFull, RbeeError, ShuttingDown, Timeout, WorkerLost
from rbee.orchestrator_core.jobs import LOSSES, backoff_s, may_try_again
from rbee.orchestrator_core.rates import Rates
from rbee.orchestrator_core.view import Key, Use
from rbee.orchestrator_core.warmth import Warmth
from rbee.queen.ahead import CANCEL_S
from rbee.queen.elsewhere import can_go_on_elsewhere
from rbee.queen.job import Job
from rbee.queen.jobs import Jobs
from rbee.queen.losses import ended_by_itself, loss_of, unexplained
from rbee.queen.pools import Pools
from rbee.queen.relay import DETACH_S, Relay
from rbee.queen.slots import Slots
from rbee.queen.store.jobs import Move, Stale
from rbee.wire.draining import DrainReason
from rbee.wire.events import JobEvent
from rbee.wire.jobs import JobState, Priority

WAKE_S = 300.0
"""One that wakes is told to end a job when it is up."""

_ASK_AGAIN_S = 0.1

_BUSY = (NoCapacity, QueueFull, ShuttingDown)
"""Refusals that say nothing about the job: it goes back to its place and no attempt is counted."""


@dataclass(slots=True)
class Errand:
    pool: str
    worker: str
    record: Mapping[str, Any] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None
    client: WorkerClient | None = None
    moving: "asyncio.Task[None] | None" = None
    resumed: bool = False
    stored: bool = False
    """That it is dispatched is on disk already."""


class Errands:
    """Knows which of our jobs each worker has, when it last had one, and what it has read."""

    def __init__(self, jobs: Jobs, pools: Pools, observe: Callable[[Job, JobEvent], None]) -> None:
        self._jobs = jobs
        self._pools = pools
        self._observe = observe
        self._all: dict[str, Errand] = {}
        self.slots = Slots()
        self.in_flight: Mapping[Key, int] = self.slots.taken
        self.used: dict[Key, Use] = {}
        self.warmth = Warmth()
        self._jobs_of: dict[Key, set[str]] = {}
        self._asking: asyncio.Task[None] | None = None
        self.ending: set[asyncio.Task[bool]] = set()
        """Workers that are being told to end a job."""

    def __contains__(self, job: object) -> bool:
        return job in self._all

    def begin(self, job: Job, pool: str, worker: str, record: Mapping[str, Any]) -> None:
        """Take ``job`` out of the queue and to ``worker``; its slot is taken from now on.

        Args:
            record: what is kept of the decision.
        """
        self._serve(job, pool, worker)
        self._start(job, Errand(pool, worker, record), attach=False)

    def begin_stored(self, job: Job, client: WorkerClient | None) -> None:
        """As ``begin``, with a job that was stored as dispatched, and with the client that ``Ahead.ask`` gave."""
        pool, worker = job.pool or "", job.worker or ""
        self._serve(job, pool, worker)
        _log_dispatched(job)
        self._start(job, Errand(pool, worker, client=client, stored=True), attach=False)

    def _serve(self, job: Job, pool: str, worker: str) -> None:
        """Take ``job`` out of the queue, and remember what its worker will have read."""
        self._jobs.queue.serve(job.id)
        status = self._pools.status(pool, worker)
        self.warmth.note((pool, worker), job.blocks, slots=status.slots if status else 1, session=job.session)

    def remaining_ms(self, workers: Collection[Key], rates: Rates, model: str) -> list[float]:
        """Return how long each job at ``workers`` probably goes on."""
        found = []
        for key in workers:
            rate = rates.of(model, key[0])
            running = [self._jobs.live[job] for job in self._jobs_of.get(key, ()) if job in self._jobs.live]
            if rate is not None:
                found += [rate.remaining_ms(job.size, job.tokens, job.part_read) for job in running]
                found += [rate.job_ms(size) for size in self.slots.coming(key)]
        return found

    def resume(self, job: Job) -> None:
        """Go on with a job that its worker had when the queen before us ended."""
        self._jobs.keep(job)
        self._start(job, Errand(job.pool or "", job.worker or "", resumed=True), attach=True)

    async def stop(self, job: Job) -> None:
        """End ``job`` as its ``cancelled`` or ``verdict`` says; its last event is on disk when this returns."""
        errand = self._all.get(job.id)
        if errand is not None and errand.task is not None:
            await self._ask_worker(job, errand)
            errand.task.cancel()
            await asyncio.wait({errand.task})
        with contextlib.suppress(Stale):
            if not job.finished:
                await self._settle(job, job.verdict or WorkerLost("it was cancelled"))
        self._jobs.ended(job)

    def move(self, pool: str) -> None:
        """Let the jobs of ``pool``, whose time to drain is over, go on elsewhere, those that can.

        Each is asked to end there once.
        """
        view = self._pools.find(pool)
        why = f"pool {pool} is {view.condition}"
        if view.drain_reason is DrainReason.OPERATOR:
            why = f"pool {pool} is draining, and its deadline has passed"
        for job, errand in [(self._jobs.live.get(job), errand) for job, errand in self._all.items()]:
            if job is None or errand.pool != pool or job.moved is not None or errand.client is None:
                continue
            if can_go_on_elsewhere(job, pool, self._pools):
                job.moved = WorkerLost(why, details={"pool": pool, "worker": errand.worker})
                errand.moving = asyncio.create_task(self._ask_to_end(job, errand.client), name=f"move-{job.id}")

    async def _ask_to_end(self, job: Job, client: WorkerClient) -> None:
        try:
            async with asyncio.timeout(CANCEL_S):
                await client.cancel(job.generation)
        except (RbeeError, TimeoutError) as error:
            log.warning("job.not_moved", job=job.id, error=str(error))

    async def leave(self) -> None:
        """Let go of all jobs as they are: their workers go on for a while, and the next queen takes them up."""
        tasks: set[asyncio.Task[Any]] = {*self.ending}
        tasks |= {errand.task for errand in self._all.values() if errand.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _ask_worker(self, job: Job, errand: Errand) -> None:
        """Have the worker end ``job``, and wait for that; not for one that is away, or waking."""
        if errand.task is None or (errand.client is None and not errand.resumed):
            return  # it was not sent there yet
        ending = asyncio.create_task(self._end_at_worker(job, errand), name=f"end-{job.id}")
        self.ending.add(ending)
        ending.add_done_callback(self.ending.discard)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                if await asyncio.shield(ending):
                    await asyncio.wait({errand.task})

    async def _end_at_worker(self, job: Job, errand: Errand) -> bool:
        """Say whether the worker was told. After a restart nobody knows where it is before its pool has spoken."""
        await self._pools.until(self._pools.heard_of(errand.pool), DETACH_S)
        client = self._pools.worker(errand.pool, errand.worker)
        if client is None:
            return False
        async with contextlib.aclosing(client):
            try:
                await _end_there(job, errand, client)
            except RbeeError as error:
                log.warning("job.not_ended", job=job.generation, worker=errand.worker, error=error.message)
                return False
        return True

    def _start(self, job: Job, errand: Errand, *, attach: bool) -> None:
        key = (errand.pool, errand.worker)
        self._all[job.id] = errand
        self.slots.take(key)
        self._jobs_of.setdefault(key, set()).add(job.id)
        self.used[key] = Use(time.monotonic(), batch=job.spec.priority is Priority.BATCH)
        errand.task = asyncio.create_task(self._go(job, errand, attach=attach), name=f"errand-{job.id}")
        errand.task.add_done_callback(lambda _: self._never_began(job, errand))

    async def _go(self, job: Job, errand: Errand, *, attach: bool) -> None:
        try:
            error = await (self._carry_on(job, errand) if attach else self._carry(job, errand))
            if error is not None and not job.finished:
                await self._settle(job, error)
        except Stale:
            log.debug("errand.overtaken", job=job.id)
        except Exception as error:  # noqa: BLE001  (a bug of ours must not leave a job that never ends)
            log.foreign("errand.failed", error, job=job.id)
            await self._broken(job)
        finally:
            self._leave(job, errand)
            if errand.client is not None:
                await errand.client.close()
            if job.finished:
                self._jobs.ended(job)
            self._jobs.changed.set()

    def _leave(self, job: Job, errand: Errand) -> None:
        key = (errand.pool, errand.worker)
        del self._all[job.id]
        self.slots.let_go(key)
        self._jobs_of[key].discard(job.id)
        self.used[key] = Use(time.monotonic(), batch=job.spec.priority is Priority.BATCH)

    def _never_began(self, job: Job, errand: Errand) -> None:
        """Leave for a task that was cancelled before its first step: nothing of it runs, nor what it does at last."""
        if self._all.get(job.id) is errand:
            self._leave(job, errand)
            self._jobs.changed.set()

    async def _broken(self, job: Job) -> None:
        with contextlib.suppress(Stale):
            await job.fail(RbeeError("the queen failed inside", hint=f"journalctl JOB={job.id}"))

    async def _carry(self, job: Job, errand: Errand) -> RbeeError | None:
        errand.client = errand.client or self._pools.worker(errand.pool, errand.worker)
        if errand.client is not None:
            errand.client.prepare()
        if not errand.stored:
            await self._dispatched(job, errand)
            if _unwanted(job):  # it came while that was written, and the worker, asked to end it, knew of nothing
                return WorkerLost("it was not begun")
        if errand.client is None:
            return unexplained(errand.pool, errand.worker)
        return await self._relay(job, errand.client).run(attach=False)

    async def _carry_on(self, job: Job, errand: Errand) -> RbeeError | None:
        """Wait for the pool to say where its worker is and what it wants to hear, then read on."""
        await self._pools.until(self._pools.heard_of(errand.pool), DETACH_S)
        errand.client = self._pools.worker(errand.pool, errand.worker)
        if errand.client is None:
            loss = None
            if errand.pool not in self._pools.absent():
                loss = await loss_of(self._pools, errand.pool, errand.worker, since_ms=job.created_ms, patient=False)
            return loss or unexplained(errand.pool, errand.worker)
        log.event("job.resumed", job=job.id, worker=errand.worker, pool=errand.pool, after=job.worker_event)
        return await self._relay(job, errand.client).run(attach=True)

    def _relay(self, job: Job, client: WorkerClient) -> Relay:
        return Relay(job, self._pools, client, lambda event: self._observe(job, event))

    async def _dispatched(self, job: Job, errand: Errand) -> None:
        columns = {"attempts": job.attempts + 1, "pool": errand.pool, "worker": errand.worker, "reason": ""}
        await job.record([], [Move(JobState.DISPATCHED, columns)], errand.record, patient=True)
        _log_dispatched(job)

    async def _settle(self, job: Job, error: RbeeError) -> None:
        """Decide what a failed attempt means: the end of the job, or another try."""
        job.losses += ended_by_itself(error)
        if _unwanted(job):
            await _end(job)
        elif job.delivered and not _resumes(job, error):
            await job.fail(_with_count(job, error))
        elif isinstance(error, _BUSY):
            job.refusals += 1
            await self._again(job, error, backoff_s(job.refusals, random.random()), counted=False)  # noqa: S311
        elif error.retriable and may_try_again(job.attempts, losses=job.losses, shaped=job.shaped):
            self._doubt(job)
            at_once = job.moved is not None or (job.delivered and job.attempts == 1)
            pause_s = 0.0 if at_once else backoff_s(job.attempts, random.random())  # noqa: S311
            await self._again(job, error, pause_s)
        else:
            await job.fail(_with_count(job, error))

    def _doubt(self, job: Job) -> None:
        if job.pool and job.worker:
            self.warmth.forget((job.pool, job.worker))
            self._pools.doubt(job.pool, job.worker)
            self._asking = asyncio.create_task(self._pools.refresh(), name="ask-after-loss")

    async def _again(self, job: Job, error: RbeeError, pause_s: float, *, counted: bool = True) -> None:
        uncounted = not counted and job.state is JobState.DISPATCHED
        columns: dict[str, object] = {"reason": error.message}
        if uncounted:
            columns["attempts"] = job.attempts - 1
        decision = {
            "decision": "retry",
            "code": error.code,
            "pause_s": round(pause_s, 1),
            "sentence": _again_sentence(job, error, pause_s),
            "losses": job.losses,
        }
        await job.record(
            [], [Move(JobState.QUEUED if uncounted else JobState.RETRIED, columns)], decision, patient=True
        )
        if _unwanted(job):  # it came while that was written; in the queue it would be given to the next worker
            await _end(job)
            return
        log.warning("job.retried", job=job.id, worker=job.worker, code=error.code, pause_s=pause_s)
        self._jobs.wait(job, pause_s)


def _unwanted(job: Job) -> bool:
    return job.cancelled or job.verdict is not None


async def _end(job: Job) -> None:
    """End a job that is unwanted, as its ``cancelled`` or ``verdict`` says."""
    if job.cancelled or job.verdict is None:
        await job.end_cancelled()
    else:
        await job.fail(job.verdict)


async def _end_there(job: Job, errand: Errand, client: WorkerClient) -> None:
    """Have a worker end ``job``; one that does not know it yet is asked again, while the job may be on its way there.

    This goes by another connection than the job did, and may come first.
    """
    until_s = time.monotonic() + CANCEL_S
    while True:
        try:
            await client.cancel(job.generation, timeout_s=WAKE_S)
            return
        except NotFound:
            if errand.task is None or errand.task.done() or time.monotonic() > until_s:
                raise
        await asyncio.sleep(_ASK_AGAIN_S)


def _resumes(job: Job, error: RbeeError) -> bool:
    """Say whether a job that was partly told goes on elsewhere: its worker was lost, and every token told is known."""
    lost = isinstance(error, (WorkerLost, *_BUSY, PoolUnreachable, Timeout)) and error.retriable
    return lost and job.resumable


def _with_count(job: Job, error: RbeeError) -> RbeeError:
    """Say how much was told before it failed, and that its shape may have been the reason."""
    if job.delivered:
        error.details.setdefault("tokens_out", job.tokens)
    if job.shaped and job.losses >= LOSSES:
        error.details.setdefault("workers_lost", job.losses)
        error.hint = "try it without its schema or tools, which may have done this; " + error.hint
    return error


def _again_sentence(job: Job, error: RbeeError, pause_s: float) -> str:
    when = "at once" if not pause_s else f"after {pause_s:.1f} s"
    how = f"went on {when} from token {job.tokens}" if job.delivered else f"tried again {when}"
    return f"{how}: {error.message}"


def _log_dispatched(job: Job) -> None:
    log.event(
        "job.dispatched", job=job.id, worker=job.worker, pool=job.pool, model=job.spec.model, attempt=job.attempts,
        request_id=job.request_id or None,
    )  # fmt: skip
