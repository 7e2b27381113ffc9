"""The queen as a whole: her store, pools, jobs and dispatcher, from start to stop."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from functools import partial

from rbee import log
from rbee.config import Queen as Settings
from rbee.errors import NotFound
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.rates import Sample
from rbee.orchestrator_core.view import Use, View
from rbee.queen.clock import Clock
from rbee.queen.dispatcher import Dispatcher
from rbee.queen.entrance import Entrance
from rbee.queen.errands import Errands
from rbee.queen.job import Job
from rbee.queen.jobs import Jobs
from rbee.queen.metrics import Metrics
from rbee.queen.newcomer import Asker
from rbee.queen.policy import Policy
from rbee.queen.pools import Pools
from rbee.queen.store import events, jobs, past
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Stored
from rbee.queen.store.past import Worked
from rbee.queen.store.store import Store
from rbee.queen.sweeper import Sweeper
from rbee.wire.catalog import ModelEntry
from rbee.wire.events import End, JobEvent, Started, StopReason
from rbee.wire.jobs import JobSpec, JobState, JobStatus
from rbee.wire.words import counted


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
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.clock = clock or Clock()
        self.settings = settings
        self.metrics = metrics
        names = Names(catalog)
        self.jobs = Jobs(names, promoted_after_s=settings.promote_after_s, ended=self._ended)
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
            self.clock,
            self.jobs,
            self.pools,
            self.errands,
            policy=policy or Policy(),
            strategy=settings.strategy,
            limits=(settings.job_limit_s, settings.job_limit_max_s),
        )
        self._entrance = Entrance(
            store,
            self.clock,
            self.jobs,
            self.pools,
            self.dispatcher,
            self.errands,
            capacity=settings.queue_capacity,
            policy=settings.queue_policy,
            shown=self.shown,
            cancel=self.cancel,
        )
        self.sweeper = Sweeper(
            store, self.clock, self.jobs, retain_jobs_s=settings.retain_jobs_s, retain_text_s=settings.retain_text_s
        )
        metrics.watch(self)

    @property
    def stopping(self) -> bool:
        return self._entrance.closed

    async def start(self) -> None:
        """Go on where the queen before us ended: what waited waits again, what ran is taken up at its worker."""
        await self.clock.start(self.store)
        await self.pools.start()
        kept = await self.store.read(jobs.unfinished)
        reasons = await self.store.read(past.first_reasons)
        self._remember(await self.store.read(past.worked))
        for each in kept:
            job = Job(self.store, self.clock, each)
            job.first_reason = reasons.get(job.seq, "")
            if each.unreadable is not None:
                self.jobs.keep(job)  # until its last event is on disk: who reads it now waits for that
                self.dispatcher.refuse(job, each.unreadable)
                continue
            if job.state in (JobState.DISPATCHED, JobState.RUNNING):
                self.errands.resume(job)
            else:
                self.jobs.wait(job)
            self.dispatcher.deadlines.watch(job)
        self.dispatcher.start()
        self.sweeper.start()
        log.event("queen.started", jobs=len(kept), waiting=len(self.jobs.queue))

    def _remember(self, worked: Iterable[Worked]) -> None:
        """Know from those before us who has been idle for how long, and how long a job takes."""
        now_s = time.monotonic()
        for each in worked:
            used = Use(now_s - max(0, self.clock.now_ms() - each.at_ms) / 1000, batch=each.batch)
            self.errands.used[each.pool, each.worker] = used
            if each.end is not None:
                self.dispatcher.rates.note(
                    self.jobs.names.canonical(each.model), each.pool, _sample(each.end, each.read)
                )

    async def stop(self) -> None:
        """Let go of everything without ending anything; jobs that come now are kept for the next queen."""
        self._entrance.closed = True
        await self.dispatcher.stop()
        self.dispatcher.policy.close()
        await self.sweeper.stop()
        await self.errands.leave()
        for job in self.jobs.live.values():
            job.feed.close()
        await self.pools.close()

    def reconfigure(self, *, token: str, catalog: Iterable[ModelEntry], policy: Policy, strategy: str) -> None:
        """Take what SIGHUP may change."""
        self.dispatcher.policy.close()
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
        trouble = self.store.trouble() or self.dispatcher.policy.trouble()
        return f"{known}; {trouble}" if trouble else known

    def submit(self, spec: JobSpec, asker: Asker, fresh_id: str = "") -> "asyncio.Task[tuple[Stored, Job | None]]":
        """Accept ``spec``; see ``Entrance``. To be shielded: whoever waits for it may go away."""
        return self._entrance.submit(spec, asker, fresh_id)

    async def cancel(self, job: Job) -> None:
        """End ``job``; its last event is on disk when this returns. One that has ended stays as it is."""
        if job.finished:
            return
        job.cancelled = True
        job.waited = self.dispatcher.reasons.waited(job) if job.id in self.jobs.queue else ()
        self.jobs.queue.remove(job.id)
        await self.errands.stop(job)
        log.event("job.cancelled", job=job.id)

    def entries(self, stored: Stored, after: int, *, attached: Job | None = None) -> AsyncIterator[Entry]:
        """Return a job's events after ``after``, to its last.

        Args:
            attached: the job, when its submitter reads: it is cancelled when the last such reader goes away.
        """
        job = attached or self.jobs.live.get(stored.status.id)
        if job is None:
            return self._pages(stored.seq, after)
        if attached is not None:
            job.feed.on_deserted = partial(self._deserted, job)
        return job.feed.read(after, attached=attached is not None)

    def _deserted(self, job: Job) -> None:
        if not job.finished and not self.stopping:
            self.dispatcher.aside(self.cancel(job), f"cancel-{job.id}")

    async def find(self, job: str, asker: Asker) -> Stored:
        """Return a job the asker may see.

        Raises:
            NotFound: there is none, or it is somebody else's: which of the two is nobody's business.
        """
        stored = await self.store.read(jobs.find, job)
        if stored is not None and not stored.status.state.finished and job not in self.jobs.live:
            # It is on disk and not in memory yet; or it has ended since.
            await self._entrance.arrived(job)
            stored = await self.store.read(jobs.find, job)
        if stored is None or asker.caller not in ("", stored.status.caller):
            raise NotFound(f"no job {job}", hint="rbee-keeper jobs list")
        return stored

    def shown(self, status: JobStatus, view: View | None = None) -> JobStatus:
        """Return ``status`` with what only memory knows: its place in the queue, and why it waits.

        Args:
            view: of now, where many are shown.
        """
        job = self.jobs.live.get(status.id)
        if job is None:
            return status
        return replace(
            status,
            queue_position=self.jobs.queue.position(job.id),
            predicted_start_ms=self.dispatcher.predict_ms(job, view),
            reason=self.dispatcher.reasons.of(job),
        )

    async def _pages(self, seq: int, after: int) -> AsyncIterator[Entry]:
        """Yield from disk; of what was erased before anything was told, what is left.

        Raises:
            NotFound: it was erased since: between what was told and what is left there would be a hole.
        """
        begun, whole = after > 0, True
        while page := await self.store.read(events.page, seq, after):
            gap = page[-1].id - after != len(page)
            if gap and begun and whole:
                raise NotFound("what was said was erased while it was read", hint="ask again")
            begun, whole = True, whole and not gap
            for entry in page:
                yield entry
            after = page[-1].id

    def _observed(self, job: Job, event: JobEvent) -> None:
        self.metrics.event(event, time.monotonic() - job.arrived_s)
        if isinstance(event, Started):
            self.dispatcher.deadlines.watch(job)
        if isinstance(event, End) and event.stop_reason is not StopReason.CANCELLED and job.pool:
            sample = _sample(event, job.size.read)
            self.dispatcher.rates.note(self.jobs.names.canonical(job.spec.model), job.pool, sample)

    def _ended(self, job: Job) -> None:
        self.metrics.ended.labels(job.state.value).inc()
        self.dispatcher.policy.ended(job.id)
        self.sweeper.job_ended()


def _sample(end: End, read: int) -> Sample:
    return Sample(tokens_out=end.tokens_out, ttft_ms=end.ttft_ms, decode_ms=end.decode_ms, read=read)
