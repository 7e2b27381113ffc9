"""The loop that decides: whenever something changed, each waiting job in its order is looked at once more."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any, assert_never

from rbee import log
from rbee.errors import RbeeError, Timeout
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.places import Place
from rbee.orchestrator_core.scheduling import Decision, Refuse, Run, Spawn, View, Wait, decide
from rbee.queen.errands import Errands
from rbee.queen.job import Job, item
from rbee.queen.jobs import Jobs
from rbee.queen.pools import Pools
from rbee.queen.spawner import Spawner
from rbee.queen.store.jobs import Stale
from rbee.wire.events import Queued
from rbee.wire.jobs import JobSpec, Placement

TICK_S = 1.0
STUCK_S = 30.0
TELLINGS = 50
"""How often at most a waiting job's readers are told that something changed."""


class Dispatcher:
    """Owns the decisions; nobody else starts, retries or times out a job.

    Args:
        limits: seconds a job may run by default, and at most.
    """

    def __init__(
        self, jobs: Jobs, pools: Pools, errands: Errands, *, names: Names, limits: tuple[float, float]
    ) -> None:
        self.names = names
        self.limits = limits
        self._jobs = jobs
        self._pools = pools
        self._errands = errands
        self._spawner = Spawner(pools, done=self._spawned, changed=jobs.changed.set)
        self._task: asyncio.Task[None] | None = None
        self._side: set[asyncio.Task[None]] = set()
        self._ticked_s = time.monotonic()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="dispatcher")

    async def stop(self) -> None:
        """Decide nothing more; see what was begun on the side through."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._spawner.close()
        while self._side:
            await asyncio.wait(set(self._side))

    def standstill(self) -> str | None:
        """Return what does not move, for the watchdog."""
        if self._task is not None and self._task.done():
            return "the dispatcher has ended"
        still_s = time.monotonic() - self._ticked_s
        return f"the dispatcher has not looked for {still_s:.0f} s" if still_s > STUCK_S else None

    def view(self) -> View:
        return View(
            pools=self._pools.view(),
            names=self.names,
            in_flight=self._errands.in_flight,
            settling=self._pools.settling(),
        )

    def decide(self, spec: JobSpec) -> Decision:
        """Return what would be done with a job of that kind now."""
        return decide(spec, self.view())

    def predict_ms(self, job: str | None, spec: JobSpec) -> int | None:
        """Return in how many ms ``job`` may start; None where nothing is known."""
        slots = sum(
            worker.slots
            for pool in self._pools.view()
            for worker in pool.workers
            if self.names.same(worker.model, spec.model)
        )
        return self._jobs.timing.start_ms(spec.model, self._jobs.ahead(job, self.names, spec.model), slots)

    def aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something that nobody waits for; it is seen through before the queen stops."""
        task = asyncio.create_task(work, name=name)
        self._side.add(task)
        task.add_done_callback(self._done_aside)

    def _done_aside(self, task: "asyncio.Task[None]") -> None:
        self._side.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Stale):
            log.error("task.failed", task=task.get_name(), error=repr(error))

    async def _run(self) -> None:
        while True:
            self._ticked_s = time.monotonic()
            self._jobs.changed.clear()
            self._expire()
            self._consider_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._nap_s()):
                    await self._jobs.changed.wait()

    def _nap_s(self) -> float:
        now_s = time.monotonic()
        dues = [self._jobs.queue.next_due_s(now_s), self._spawner.next_due_s()]
        dues += [self._due(job)[0] for job in self._jobs.live.values()]
        return min([TICK_S, *(max(0.0, due - now_s) for due in dues if due is not None)])

    def _consider_all(self) -> None:
        """Jobs that ask for the same are told the same until one of them is given something."""
        now_s = time.monotonic()
        view = self.view()
        answers: dict[tuple[str, Placement], tuple[str, Place | None]] = {}
        for place, entry in enumerate(self._jobs.order()):
            if entry.not_before_s > now_s:
                continue
            job = self._jobs.live[entry.job]
            key = (self.names.canonical(job.spec.model), job.spec.placement)
            if key not in answers:
                answer = self._perform(job, decide(job.spec, view))
                if answer is None:
                    continue
                answers[key] = answer
            reason, job.waits_for = answers[key]
            self._tell(job, place, reason)

    def _perform(self, job: Job, decision: Decision) -> tuple[str, Place | None] | None:
        """Act; return why the job goes on waiting and for which spawn, None when it does not wait."""
        match decision:
            case Run(pool, worker):
                self._errands.begin(job, pool, worker)
                return None
            case Spawn(place, spec):
                return self._spawner.ask(place, spec), place
            case Wait(reason, absent):
                if absent:
                    self._pools.wake()
                return reason, None
            case Refuse(error):
                self.refuse(job, error)
                return None
            case _:
                assert_never(decision)

    def _tell(self, job: Job, place: int, reason: str) -> None:
        """Let the readers of a waiting job know that its place or its reason changed."""
        job.reason = reason
        if not job.feed.readers or job.told == (place, reason) or job.tellings >= TELLINGS:
            return
        job.told = (place, reason)
        job.tellings += 1
        event = Queued(position=place, predicted_start_ms=self.predict_ms(job.id, job.spec), reason=reason)
        self.aside(job.record([item(event)]), f"tell-{job.id}")

    def _spawned(self, place: Place, error: RbeeError | None) -> None:
        """A spawn ended. If there will be no worker, those who waited for just that one hear why."""
        if error is not None:
            for job in [job for job in self._jobs.live.values() if job.waits_for == place]:
                if job.id in self._jobs.queue:
                    self.refuse(job, error)
        self._jobs.changed.set()

    def refuse(self, job: Job, error: RbeeError) -> None:
        """Take a waiting job out of the queue and end it with ``error``."""
        self._jobs.queue.remove(job.id)
        self.aside(self._failed(job, error), f"fail-{job.id}")

    async def _failed(self, job: Job, error: RbeeError) -> None:
        await job.fail(error)
        log.event("job.ended", job=job.id, state=job.state.value, code=error.code, error=error.message)
        self._jobs.ended(job)

    def _expire(self) -> None:
        now_s = time.monotonic()
        for job in list(self._jobs.live.values()):
            due_s, why = self._due(job)
            if due_s is None or due_s > now_s:
                continue
            job.verdict = Timeout(
                why, hint="allow it more time: deadline_ms (jobs submit --deadline), or [queen] job_limit_s"
            )
            if self._jobs.queue.remove(job.id):
                self.refuse(job, job.verdict)
            else:
                self.aside(self._errands.stop(job), f"stop-{job.id}")

    def _due(self, job: Job) -> tuple[float | None, str]:
        """Return when ``job`` has had its time, on the monotonic clock, and what to say then."""
        if job.verdict is not None or job.cancelled:
            return None, ""
        usual_s, most_s = self.limits
        deadline_ms = job.spec.deadline_ms
        by_deadline = None if deadline_ms is None else job.arrived_s + deadline_ms / 1000
        limit_s = usual_s if deadline_ms is None else min(deadline_ms / 1000, most_s)
        by_limit = None if job.began_s is None else job.began_s + limit_s
        if by_deadline is not None and (by_limit is None or by_deadline <= by_limit):
            return by_deadline, f"job {job.id} was not done within its deadline of {deadline_ms} ms"
        return by_limit, f"job {job.id} ran longer than {limit_s:g} s"
