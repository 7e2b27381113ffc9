"""The way in: every check before a job is accepted, then the disk, then the answer."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from rbee import log
from rbee.client.worker import WorkerClient
from rbee.errors import Conflict, NoCapacity, NotPermitted
from rbee.orchestrator_core.admission import Refuse as NotAdmitted
from rbee.orchestrator_core.admission import admit, given_up
from rbee.orchestrator_core.fitness import unfit
from rbee.orchestrator_core.scheduling import Decision, Refuse, Run
from rbee.orchestrator_core.view import View
from rbee.queen.ahead import Ahead
from rbee.queen.clock import Clock
from rbee.queen.counting import prompt_tokens
from rbee.queen.dispatcher import Dispatcher
from rbee.queen.errands import Errands
from rbee.queen.forecast import Outlook
from rbee.queen.job import Job
from rbee.queen.jobs import Jobs
from rbee.queen.newcomer import Arrival, Asker, Newcomer, new_id
from rbee.queen.pools import Pools
from rbee.queen.store import jobs
from rbee.queen.store.jobs import Given, Stored
from rbee.queen.store.store import Store
from rbee.wire.events import Queued
from rbee.wire.jobs import JobSpec, JobStatus
from rbee.wire.schemas import refuse_excess
from rbee.wire.words import counted

_AT_ONCE = Queued(position=0, predicted_start_ms=0, reason="")
"""What is said of a job that does not wait."""


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
        self._ahead = Ahead(pools, errands.slots, jobs.changed.set)
        self._capacity = capacity
        self._policy = policy
        self._shown = shown
        self._cancel = cancel
        self._numbers = itertools.count()
        self._coming: dict[int, JobSpec] = {}
        self._waiting: set[int] = set()
        self._arriving: dict[str, asyncio.Event] = {}
        self._leaving: dict[str, NoCapacity] = {}
        """Jobs that could not be kept, and why, until nothing is left of them."""

    def submit(self, spec: JobSpec, asker: Asker, fresh_id: str = "") -> "asyncio.Task[tuple[Stored, Job | None]]":
        """Accept ``spec``: when this is done it is on disk. The job is None when it has ended already.

        It is a task, since what was begun is seen through though the asker goes away: a job on disk must be one that
        runs.

        Args:
            fresh_id: what to call it when ``spec`` has no id; made by ``new_id``, so that nobody has used it.

        Raises:
            Conflict: the id is taken by another job. InvalidRequest: it is too long, or its schemas are. QueueFull,
            DeadlineUnmet, ModelNotFound, ContextTooLong, …: not accepted.
        """
        return asyncio.create_task(self._submit(Newcomer(spec.id or fresh_id or new_id(), spec, asker)), name="submit")

    async def _submit(self, newcomer: Newcomer) -> tuple[Stored, Job | None]:
        caller = newcomer.asker.caller
        refuse_excess(newcomer.spec)
        if newcomer.spec.placement.draining and caller:
            raise NotPermitted(f"caller {caller} may not use a pool that drains", hint="ask the operator")
        # One at a time for each id, since a job is on disk before it is in memory.
        await self.arrived(newcomer.id)
        if newcomer.id in self._leaving:
            raise self._leaving[newcomer.id]
        arrived = self._arriving[newcomer.id] = asyncio.Event()
        try:
            known = await self._store.read(jobs.find, newcomer.id) if newcomer.is_known else None
            return await self._enter(newcomer) if known is None else self._repeated(known, newcomer)
        finally:
            del self._arriving[newcomer.id]
            arrived.set()

    async def arrived(self, job: str) -> None:
        """Return when ``job`` is in memory, if it is on disk."""
        while job in self._arriving:
            await self._arriving[job].wait()

    async def _enter(self, newcomer: Newcomer) -> tuple[Stored, Job | None]:
        spec, caller = newcomer.spec, newcomer.asker.caller
        tokens, decision, view = await self._decided(newcomer)
        # From here to where it has a slot, or is among those that come, nothing is awaited: whoever is next counts it.
        outlook = self._dispatcher.outlook(spec, caller, list(self._coming.values()), view)
        at_once = outlook.at_once and isinstance(decision, Run) and not decision.wakes
        alone = outlook.first and self._dispatcher.policy.silent and not self.closed
        if at_once and alone and isinstance(decision, Run):
            stored, job = await self._give(newcomer, tokens, decision, view)
        else:
            displaced = None if at_once else self._admit(spec, outlook)
            first = self._first(decision, outlook, at_once=at_once)
            arrival = Arrival.of(newcomer, self._clock, first, tokens)
            stored, job = await self._line_up(arrival, displaced, waits=not at_once)
        if job is None:
            return self._repeated(stored, newcomer)
        await self._on_disk(job)
        return stored, job

    async def _give(self, newcomer: Newcomer, tokens: int, run: Run, view: View) -> tuple[Stored, Job | None]:
        """Store a job as one that its worker is about to get, and let it go there.

        What is decided once is not decided again: that and a write of its own is half the time before it runs. The
        worker is asked first of all; what was considered is looked up before it counts as his.
        """
        key, job = (run.pool, run.worker), None
        client = self._ahead.ask(newcomer, key)
        try:
            record = self._dispatcher.record_of(newcomer.spec, newcomer.asker.caller, run, view)
            given = Given(pool=run.pool, worker=run.worker, record=record)
            arrival = Arrival.of(newcomer, self._clock, _AT_ONCE, tokens)
            with self._errands.slots.kept_for(newcomer, key):
                stored = await self._store.write(jobs.submit, arrival.new, arrival.entry, given)
                if stored.fresh:
                    job = arrival.job(self._store, self._clock, stored)
                    stored = self._accepted(job, stored, _AT_ONCE)
                    await self._begin(job, client)
        finally:
            if client is not None and job is None:
                taking_back = self._ahead.take_back(newcomer, key, client)
                self._dispatcher.aside(taking_back, f"take-back-{newcomer.id}")
        return stored, job

    async def _begin(self, job: Job, client: WorkerClient | None) -> None:
        """Go on with a job that was stored with its worker; a queen who stops leaves it there for the next one."""
        if not self.closed:
            self._errands.begin_stored(job, client)
        elif client is not None:
            await client.close()

    async def _line_up(self, arrival: Arrival, displaced: Job | None, *, waits: bool) -> tuple[Stored, Job | None]:
        """Store a job as one of those that wait; whoever is ``displaced`` by it has to leave."""
        with self._among_those_that_come(arrival.new.spec, waits=waits), self._in_place_of(displaced):
            stored = await self._store.write(jobs.submit, arrival.new, arrival.entry)
        if not stored.fresh:
            if displaced is not None:
                self._jobs.wait(displaced)
            return stored, None
        if displaced is not None:
            self._dispatcher.refuse(displaced, given_up(displaced.id, self._capacity))
        job = arrival.job(self._store, self._clock, stored)
        return self._accepted(job, stored, arrival.first), job

    async def _on_disk(self, job: Job) -> None:
        """Wait for the disk, while the job is on its way to a worker already."""
        try:
            await self._store.synced()
        except NoCapacity as error:
            self._leaving[job.id] = error
            self._dispatcher.aside(self._leave(job), f"leave-{job.id}")
            raise

    async def _leave(self, job: Job) -> None:
        """End ``job`` and forget it: who was told that it could not be kept may ask for it again, and it is another."""
        try:
            await self._cancel(job)
            await self._store.write(jobs.forget, job.seq)
        finally:
            del self._leaving[job.id]

    async def _decided(self, newcomer: Newcomer) -> tuple[int, Decision, View]:
        """Return how many tokens the prompt has at least, and what would be done now; raises when that is nothing."""
        spec, caller = newcomer.spec, newcomer.asker.caller
        view = self._dispatcher.view()
        fit = unfit(spec, view) is None
        tokens = await prompt_tokens(spec, view, self._pools) if fit else 0  # else nobody need read it
        view = self._dispatcher.view() if tokens else view
        decision = self._dispatcher.decide(spec, caller, view, tokens)
        if isinstance(decision, Refuse):
            # A model that was imported a moment ago is in no snapshot yet: nobody is refused on old news.
            await self._pools.refresh()
            view = self._dispatcher.view()
            decision = self._dispatcher.decide(spec, caller, view, tokens)
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

    def _repeated(self, known: Stored, newcomer: Newcomer) -> tuple[Stored, Job | None]:
        if known.digest != newcomer.digest() or known.status.caller != newcomer.asker.caller:
            raise Conflict(
                f"job {known.status.id} exists with another body",
                hint="choose another id, or none",
                details={"id": known.status.id},
            )
        return replace(known, status=self._shown(known.status)), self._jobs.live.get(known.status.id)
