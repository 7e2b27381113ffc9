"""The way in: every check before a job is accepted, then the disk, then the answer."""

import asyncio
import contextlib
import hashlib
import itertools
import secrets
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rbee import log
from rbee.client.worker import WorkerClient
from rbee.errors import Conflict, NoCapacity, NotPermitted
from rbee.orchestrator_core.admission import Refuse as NotAdmitted
from rbee.orchestrator_core.admission import admit, given_up
from rbee.orchestrator_core.scheduling import Decision, Refuse, Run
from rbee.orchestrator_core.view import View
from rbee.queen.clock import Clock
from rbee.queen.counting import prompt_tokens
from rbee.queen.dispatcher import Dispatcher
from rbee.queen.errands import Errands
from rbee.queen.forecast import Outlook
from rbee.queen.job import Job
from rbee.queen.jobs import Jobs
from rbee.queen.pools import Pools
from rbee.queen.store import jobs
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Given, NewJob, Stored, Unfinished
from rbee.queen.store.store import Store
from rbee.wire import codec
from rbee.wire.events import Queued
from rbee.wire.jobs import JobSpec, JobStatus
from rbee.wire.words import counted

_AT_ONCE = Queued(position=0, predicted_start_ms=0, reason="")
"""What is said of a job that does not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks. ``caller`` is empty for the operator."""

    caller: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class _Coming:
    """A job that may enter. ``tokens`` are how many its prompt has at least."""

    new: NewJob
    first: Queued
    entry: Entry
    tokens: int


class Entrance:
    """
    Args:
        capacity: how many may wait; -1 is unbounded.
        policy: what to do with one more.
        shown: a status with what only memory knows.
        cancel: ends a job that cannot be kept.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        jobs: Jobs,
        pools: Pools,
        dispatcher: Dispatcher,
        errands: Errands,
        *,
        capacity: int,
        policy: str,
        shown: Callable[[JobStatus], JobStatus],
        cancel: Callable[[Job], Coroutine[Any, Any, None]],
    ) -> None:
        self.closed = False
        """The queen is stopping: who is accepted now is kept for the next one."""
        self._store = store
        self._clock = clock
        self._jobs = jobs
        self._pools = pools
        self._dispatcher = dispatcher
        self._errands = errands
        self._capacity = capacity
        self._policy = policy
        self._shown = shown
        self._cancel = cancel
        self._numbers = itertools.count()
        self._coming: dict[int, JobSpec] = {}
        self._waiting: set[int] = set()
        self._arriving: dict[str, asyncio.Event] = {}

    def submit(self, spec: JobSpec, asker: Asker, fresh_id: str = "") -> "asyncio.Task[tuple[Stored, Job | None]]":
        """Accept ``spec``: when this is done it is on disk. The job is None when it has ended already.

        It is a task, since what was begun is seen through though the asker goes away: a job on disk must be one that
        runs.

        Args:
            fresh_id: what to call it when ``spec`` has no id; made by ``new_id``, so that nobody has used it.

        Raises:
            Conflict: the id is taken by another job. QueueFull, DeadlineUnmet, ModelNotFound, ContextTooLong, …: not
            accepted.
        """
        return asyncio.create_task(self._submit(spec, asker, fresh_id or new_id()), name="submit")

    async def _submit(self, spec: JobSpec, asker: Asker, fresh_id: str) -> tuple[Stored, Job | None]:
        if spec.placement.draining and asker.caller:
            raise NotPermitted(f"caller {asker.caller} may not use a pool that drains", hint="ask the operator")
        if spec.id is None:
            return await self._enter(spec, fresh_id, asker)
        # One at a time for each id, since a job is on disk before it is in memory.
        while spec.id in self._arriving:
            await self._arriving[spec.id].wait()
        arrived = self._arriving[spec.id] = asyncio.Event()
        try:
            known = await self._store.read(jobs.find, spec.id)
            if known is not None:
                return self._repeated(known, spec, asker)
            return await self._enter(spec, spec.id, asker)
        finally:
            del self._arriving[spec.id]
            arrived.set()

    async def _enter(self, spec: JobSpec, job_id: str, asker: Asker) -> tuple[Stored, Job | None]:
        tokens, decision, view = await self._decided(spec)
        # From here to where it has a slot, or is among those that come, nothing is awaited: whoever is next counts it.
        outlook = self._dispatcher.outlook(spec, asker.caller, list(self._coming.values()), view)
        at_once = outlook.at_once and isinstance(decision, Run) and not decision.wakes
        alone = outlook.first and self._dispatcher.policy.silent and not self.closed
        coming = partial(self._coming_job, spec, job_id, asker, tokens)
        if at_once and alone and isinstance(decision, Run):
            stored, job = await self._give(coming, spec, job_id, asker, decision, view)
        else:
            displaced = None if at_once else self._admit(spec, outlook)
            first = self._first(decision, outlook, at_once=at_once)
            stored, job = await self._line_up(coming(first), displaced, waits=not at_once)
        if job is None:
            return self._repeated(stored, spec, asker)
        await self._on_disk(job)
        return stored, job

    async def _give(
        self, make: Callable[[Queued], "_Coming"], spec: JobSpec, job_id: str, asker: Asker, run: Run, view: View
    ) -> tuple[Stored, Job | None]:
        """Store a job as one that its worker is about to get, and let it go there.

        What is decided once is not decided again: that and a write of its own is half the time before it runs. The
        worker is asked first of all; what was considered is looked up before it counts as his.
        """
        key, job = (run.pool, run.worker), None
        client = self._errands.ask(spec, job_id, asker.request_id, key)
        try:
            given = Given(pool=run.pool, worker=run.worker, record=self._dispatcher.record_of(spec, run, view))
            coming = make(_AT_ONCE)
            with self._errands.slot_for(spec, job_id, key):
                stored = await self._store.write(jobs.submit, coming.new, coming.entry, given)
                if stored.fresh:
                    job = self._made(coming, stored)
                    stored = self._accepted(job, stored, coming.first)
                    await self._begin(job, client)
        finally:
            if client is not None and job is None:
                taking_back = self._errands.take_back(spec, job_id, key, client)
                self._dispatcher.aside(taking_back, f"take-back-{job_id}")
        return stored, job

    async def _begin(self, job: Job, client: WorkerClient | None) -> None:
        """Go on with a job that was stored with its worker; a queen who stops leaves it there for the next one."""
        if not self.closed:
            self._errands.begin_stored(job, client)
        elif client is not None:
            await client.close()

    async def _line_up(self, coming: "_Coming", displaced: Job | None, *, waits: bool) -> tuple[Stored, Job | None]:
        """Store a job as one of those that wait; whoever is ``displaced`` by it has to leave."""
        with self._among_those_that_come(coming.new.spec, waits=waits), self._in_place_of(displaced):
            stored = await self._store.write(jobs.submit, coming.new, coming.entry)
        if not stored.fresh:
            if displaced is not None:
                self._jobs.wait(displaced)
            return stored, None
        if displaced is not None:
            self._dispatcher.refuse(displaced, given_up(displaced.id, self._capacity))
        job = self._made(coming, stored)
        return self._accepted(job, stored, coming.first), job

    def _coming_job(self, spec: JobSpec, job_id: str, asker: Asker, tokens: int, first: Queued) -> "_Coming":
        created_ms = self._clock.wall_ms()
        new = NewJob(
            id=job_id,
            digest=_digest(spec),
            spec=spec,
            caller=asker.caller,
            request_id=asker.request_id,
            created_ms=created_ms,
            skew_ms=self._clock.now_ms() - created_ms,
        )
        return _Coming(new, first, Entry(1, "queued", codec.dump_json(first)), tokens)

    def _made(self, coming: "_Coming", stored: Stored) -> Job:
        job = Job(self._store, self._clock, _unfinished(stored, coming.new))
        job.feed.publish([coming.entry])
        job.context_tokens = coming.tokens
        return job

    async def _on_disk(self, job: Job) -> None:
        """Wait for the disk, while the job is on its way to a worker already."""
        try:
            await self._store.synced()
        except NoCapacity:
            self._dispatcher.aside(self._cancel(job), f"cancel-{job.id}")
            raise

    async def _decided(self, spec: JobSpec) -> tuple[int, Decision, View]:
        """Return how many tokens the prompt has at least, and what would be done now; raises when that is nothing."""
        view = self._dispatcher.view()
        tokens = await prompt_tokens(spec, view, self._pools)
        view = self._dispatcher.view() if tokens else view
        decision = self._dispatcher.decide(spec, view, tokens)
        if isinstance(decision, Refuse):
            # A model that was imported a moment ago is in no snapshot yet: nobody is refused on old news.
            await self._pools.refresh()
            view = self._dispatcher.view()
            decision = self._dispatcher.decide(spec, view, tokens)
        if isinstance(decision, Refuse):
            raise decision.error
        return tokens, decision, view

    def _admit(self, spec: JobSpec, outlook: Outlook) -> Job | None:
        """Return the job that has to leave for this one, if any; raises when it may not enter."""
        admission = admit(
            spec,
            waiting=len(self._jobs.queue) + len(self._waiting),
            oldest_batch=self._jobs.queue.oldest_batch(),
            capacity=self._capacity,
            policy=self._policy,
            start_ms=outlook.start_ms,
            next_ms=self._dispatcher.next_ms,
        )
        if isinstance(admission, NotAdmitted):
            raise admission.error
        return self._jobs.live[admission.displaces] if admission.displaces is not None else None

    def _first(self, decision: Decision, outlook: Outlook, *, at_once: bool) -> Queued:
        if at_once:
            return _AT_ONCE
        reason = self._dispatcher.told(decision) or f"waits for its turn: {counted(outlook.place, 'job')} before it"
        return Queued(position=outlook.place, predicted_start_ms=outlook.start_ms, reason=reason)

    @contextlib.contextmanager
    def _among_those_that_come(self, spec: JobSpec, *, waits: bool) -> Iterator[None]:
        number = next(self._numbers)
        self._coming[number] = spec
        if waits:
            self._waiting.add(number)
        try:
            yield
        finally:
            del self._coming[number]
            self._waiting.discard(number)

    @contextlib.contextmanager
    def _in_place_of(self, displaced: Job | None) -> Iterator[None]:
        """Take ``displaced`` out of the queue; it is back if the other one cannot be stored."""
        if displaced is not None:
            self._jobs.queue.remove(displaced.id)
        try:
            yield
        except BaseException:
            if displaced is not None and not displaced.finished and not displaced.cancelled:
                self._jobs.wait(displaced)
            raise

    def _accepted(self, job: Job, stored: Stored, first: Queued) -> Stored:
        job.told, job.reason = (first.position, first.reason), first.reason
        job.first_reason = first.reason
        if self.closed:
            job.feed.close()
        self._jobs.wait(job)
        self._dispatcher.deadlines.watch(job)
        log.event(
            "job.accepted", job=job.id, model=job.spec.model, caller=job.caller or None, request_id=job.request_id
        )
        place = first.position if first.predicted_start_ms == 0 else self._jobs.queue.position(job.id)
        status = replace(stored.status, reason=first.reason, queue_position=place)
        return replace(stored, status=replace(status, predicted_start_ms=first.predicted_start_ms))

    def _repeated(self, known: Stored, spec: JobSpec, asker: Asker) -> tuple[Stored, Job | None]:
        if known.digest != _digest(spec) or known.status.caller != asker.caller:
            raise Conflict(
                f"job {known.status.id} exists with another body",
                hint="choose another id, or none",
                details={"id": known.status.id},
            )
        return replace(known, status=self._shown(known.status)), self._jobs.live.get(known.status.id)


def _unfinished(stored: Stored, new: NewJob) -> Unfinished:
    return Unfinished(
        seq=stored.seq,
        spec=new.spec,
        request_id=new.request_id,
        status=stored.status,
        last_event=0,
        last_worker_event=0,
        delivered=False,
        skew_ms=new.skew_ms,
    )


def _digest(spec: JobSpec) -> str:
    """Return what tells whether two jobs of one id are the same."""
    return hashlib.sha256(codec.dump_json(replace(spec, id=None)).encode()).hexdigest()


def new_id() -> str:
    return f"job-{secrets.token_hex(6)}"
