"""The queen as a whole: her store, pools, jobs and dispatcher, from start to stop."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace

from rbee import log
from rbee.config import Queen as Settings
from rbee.errors import Conflict, NoCapacity, NotFound, NotPermitted
from rbee.orchestrator_core.admission import Refuse as NotAdmitted
from rbee.orchestrator_core.admission import admit, full
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.rates import Sample
from rbee.orchestrator_core.scheduling import Refuse, Run
from rbee.queen.closing import closing
from rbee.queen.counting import prompt_tokens
from rbee.queen.dispatcher import Dispatcher
from rbee.queen.errands import Errands
from rbee.queen.job import Job, now_ms
from rbee.queen.jobs import Jobs
from rbee.queen.metrics import Metrics
from rbee.queen.policy import Policy
from rbee.queen.pools import Pools
from rbee.queen.store import events, jobs
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import NewJob, Stored, Unfinished
from rbee.queen.store.store import Store
from rbee.queen.sweeper import Sweeper
from rbee.wire import codec
from rbee.wire.catalog import ModelEntry
from rbee.wire.events import End, JobEvent, Queued, Started, StopReason
from rbee.wire.jobs import JobSpec, JobState, JobStatus
from rbee.wire.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks. ``caller`` is empty for the operator."""

    caller: str = ""
    request_id: str = ""


class Queen:
    """
    Args:
        token: the fleet token to present to pools; empty for none.
        catalog: model names and what they stand for.
        policy: the owner's say in decisions.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        token: str,
        catalog: Iterable[ModelEntry],
        metrics: Metrics,
        policy: Policy | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.metrics = metrics
        self.stopping = False
        self._entering = 0
        names = Names(catalog)
        self.jobs = Jobs(names, self._ended)
        self.pools = Pools(
            store,
            names=names,
            lost_after_s=settings.lost_after * settings.heartbeat_s,
            token=token,
            urls=settings.pools,
            changed=self.jobs.changed.set,
            ca_file=settings.tls_ca,
        )
        self.errands = Errands(self.jobs, self.pools, self._observed)
        self.dispatcher = Dispatcher(
            store,
            self.jobs,
            self.pools,
            self.errands,
            policy=policy or Policy(),
            strategy=settings.strategy,
            limits=(settings.job_limit_s, settings.job_limit_max_s),
        )
        self.sweeper = Sweeper(
            store, self.jobs, retain_jobs_s=settings.retain_jobs_s, retain_text_s=settings.retain_text_s
        )
        metrics.watch(self)

    async def start(self) -> None:
        """Go on where the queen before us ended: what waited waits again, what ran is taken up at its worker."""
        await self.pools.start()
        kept = await self.store.read(jobs.unfinished)
        for each in kept:
            job = Job(self.store, each)
            if job.state in (JobState.DISPATCHED, JobState.RUNNING):
                self.errands.resume(job)
            else:
                self.jobs.wait(job)
            self.dispatcher.deadlines.watch(job)
        self.dispatcher.start()
        self.sweeper.start()
        log.event("queen.started", jobs=len(kept), waiting=len(self.jobs.queue))

    async def stop(self) -> None:
        """Let go of everything without ending anything; jobs that come now are kept for the next queen."""
        self.stopping = True
        await self.dispatcher.stop()
        await self.sweeper.stop()
        await self.errands.leave()
        for job in self.jobs.live.values():
            job.feed.close()
        await self.pools.close()

    def reconfigure(self, *, token: str, catalog: Iterable[ModelEntry], policy: Policy, strategy: str) -> None:
        """Take what SIGHUP may change."""
        self.dispatcher.policy, self.dispatcher.strategy = policy, strategy
        self.pools.token = token
        names = Names(catalog)
        self.pools.rename(names)
        self.jobs.rename(names)
        self.jobs.changed.set()

    def standstill(self) -> str | None:
        """Return what makes no progress, for the watchdog."""
        if self.stopping:
            return None
        return self.store.standstill() or self.dispatcher.standstill()

    def status_line(self) -> str:
        """Return what ``systemctl status`` shows."""
        live = self.pools.heard()
        workers = sum(len(snapshot.workers) for snapshot in live)
        waiting = len(self.jobs.queue)
        running = len(self.jobs.live) - waiting
        known = f"{running} running, {waiting} queued, {counted(len(live), 'pool')}, {counted(workers, 'worker')}"
        trouble = self.store.trouble()
        return f"{known}; {trouble}" if trouble else known

    async def submit(self, spec: JobSpec, asker: Asker) -> tuple[Stored, Job | None]:
        """Accept ``spec``: when this returns it is on disk. The job is None when it has ended already.

        What was begun is seen through though the asker goes away: a job on disk must be one that runs.

        Raises:
            Conflict: the id is taken by another job. QueueFull, DeadlineUnmet, ModelNotFound, ContextTooLong, …: not
            accepted.
        """
        if spec.placement.draining and asker.caller:
            raise NotPermitted(f"caller {asker.caller} may not use a pool that drains", hint="ask the operator")
        digest = hashlib.sha256(codec.dump_json(replace(spec, id=None)).encode()).hexdigest()
        if spec.id is not None and (known := await self.store.read(jobs.find, spec.id)) is not None:
            return self._repeated(known, digest, asker)
        stored, job = await asyncio.shield(asyncio.ensure_future(self._enter(spec, digest, asker)))
        try:
            await self.store.synced()  # while it is on its way to a worker
        except NoCapacity:
            if job is not None:
                self.dispatcher.aside(self.cancel(job), f"cancel-{job.id}")
            raise
        return stored, job

    async def cancel(self, job: Job) -> None:
        """End ``job``; its last event is on disk when this returns. One that has ended stays as it is."""
        if job.finished:
            return
        job.cancelled = True
        self.jobs.queue.remove(job.id)
        await self.errands.stop(job)
        log.event("job.cancelled", job=job.id)

    async def entries(self, stored: Stored, after: int, *, attached: Job | None = None) -> AsyncIterator[Entry]:
        """Yield a job's events after ``after``, to its last.

        Args:
            attached: the job, when its submitter reads: it is cancelled when the last such reader goes away.
        """
        job = attached or self.jobs.live.get(stored.status.id)
        if job is None:
            async for entry in self._pages(stored.seq, after):
                yield entry
            return
        reading = job.feed.read(after, attached=attached is not None)
        try:
            async with closing(reading) as stream:
                async for entry in stream:
                    yield entry
        finally:
            if attached is not None and not job.finished and not self.stopping and not job.feed.attached:
                self.dispatcher.aside(self.cancel(job), f"cancel-{job.id}")

    async def find(self, job: str, asker: Asker) -> Stored:
        """Return a job the asker may see.

        Raises:
            NotFound: there is none, or it is somebody else's: which of the two is nobody's business.
        """
        stored = await self.store.read(jobs.find, job)
        if stored is None or asker.caller not in ("", stored.status.caller):
            raise NotFound(f"no job {job}", hint="rbee-keeper jobs list")
        return stored

    def shown(self, status: JobStatus) -> JobStatus:
        """Return ``status`` with what only memory knows: its place in the queue, and why it waits."""
        job = self.jobs.live.get(status.id)
        if job is None:
            return status
        return replace(
            status,
            queue_position=self.jobs.queue.position(job.id),
            predicted_start_ms=self.dispatcher.predict_ms(job, job.spec) if job.id in self.jobs.queue else None,
            reason=self.dispatcher.reason_of(job),
        )

    async def _enter(self, spec: JobSpec, digest: str, asker: Asker) -> tuple[Stored, Job | None]:
        self._entering += 1
        try:
            return await self._decided(spec, digest, asker)
        finally:
            self._entering -= 1

    async def _decided(self, spec: JobSpec, digest: str, asker: Asker) -> tuple[Stored, Job | None]:
        view = self.dispatcher.view()
        tokens = await prompt_tokens(spec, view, self.pools)
        decision = self.dispatcher.decide(spec, self.dispatcher.view() if tokens else view, tokens)
        if isinstance(decision, Refuse):
            # A model that was imported a moment ago is in no snapshot yet: nobody is refused on old news.
            await self.pools.refresh()
            decision = self.dispatcher.decide(spec, self.dispatcher.view(), tokens)
        if isinstance(decision, Refuse):
            raise decision.error
        predicted_ms = 0 if isinstance(decision, Run) else self.dispatcher.predict_ms(None, spec)
        displaced = None if isinstance(decision, Run) else self._admit(spec, predicted_ms)
        reason = self.dispatcher.told(decision)
        first = Queued(position=len(self.jobs.queue), predicted_start_ms=predicted_ms, reason=reason)
        new = NewJob(
            id=spec.id or new_id(),
            digest=digest,
            spec=spec,
            caller=asker.caller,
            request_id=asker.request_id,
            created_ms=now_ms(),
        )
        entry = Entry(1, "queued", codec.dump_json(first))
        stored = await self.store.write(jobs.submit, new, entry)
        if not stored.fresh:
            return self._repeated(stored, digest, asker)
        job = Job(
            self.store,
            Unfinished(
                seq=stored.seq,
                spec=spec,
                request_id=asker.request_id,
                status=stored.status,
                last_event=0,
                last_worker_event=0,
                delivered=False,
            ),
        )
        job.feed.publish([entry])
        job.context_tokens = tokens
        return self._accepted(job, stored, first, displaced), job

    def _accepted(self, job: Job, stored: Stored, first: Queued, displaced: Job | None) -> Stored:
        if displaced is not None and self.jobs.queue.remove(displaced.id):
            waiting, capacity = len(self.jobs.queue), self.settings.queue_capacity
            self.dispatcher.refuse(displaced, full(waiting, capacity))
        job.told = (first.position, first.reason)
        job.reason = first.reason
        if self.stopping:
            job.feed.close()
        self.jobs.wait(job)
        self.dispatcher.deadlines.watch(job)
        log.event(
            "job.accepted", job=job.id, model=job.spec.model, caller=job.caller or None, request_id=job.request_id
        )
        status = replace(
            stored.status,
            reason=self.dispatcher.reason_of(job),
            queue_position=first.position,
            predicted_start_ms=first.predicted_start_ms,
        )
        return replace(stored, status=status)

    def _admit(self, spec: JobSpec, predicted_ms: int | None) -> Job | None:
        """Return the job that has to leave for this one, if any; raises when it may not enter."""
        capacity = self.settings.queue_capacity
        admission = admit(
            spec,
            self.jobs.queue,
            capacity=capacity if capacity < 0 else max(0, capacity - self._entering + 1),
            policy=self.settings.queue_policy,
            predicted_start_ms=predicted_ms,
            job_ms=self.dispatcher.usual_ms(spec),
        )
        if isinstance(admission, NotAdmitted):
            raise admission.error
        return self.jobs.live[admission.displaces] if admission.displaces is not None else None

    def _repeated(self, known: Stored, digest: str, asker: Asker) -> tuple[Stored, Job | None]:
        if known.digest != digest or known.status.caller != asker.caller:
            raise Conflict(
                f"job {known.status.id} exists with another body",
                hint="choose another id, or none",
                details={"id": known.status.id},
            )
        return replace(known, status=self.shown(known.status)), self.jobs.live.get(known.status.id)

    async def _pages(self, seq: int, after: int) -> AsyncIterator[Entry]:
        while page := await self.store.read(events.page, seq, after):
            for entry in page:
                yield entry
            after = page[-1].id

    def _observed(self, job: Job, event: JobEvent) -> None:
        self.metrics.event(event, time.monotonic() - job.arrived_s)
        if isinstance(event, Started):
            self.dispatcher.deadlines.watch(job)
        if isinstance(event, End) and event.stop_reason is not StopReason.CANCELLED and job.pool:
            sample = Sample(tokens_out=event.tokens_out, ttft_ms=event.ttft_ms, decode_ms=event.decode_ms)
            self.dispatcher.rates.note(self.jobs.names.canonical(job.spec.model), job.pool, sample)

    def _ended(self, job: Job) -> None:
        self.metrics.ended.labels(job.state.value).inc()
        self.dispatcher.policy.ended(job.id)
        self.sweeper.job_ended()


def new_id() -> str:
    return f"job-{secrets.token_hex(6)}"
