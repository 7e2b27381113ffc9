"""The loop that decides: whenever something changed, the first waiting job of each need is looked at once more."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, assert_never

from rbee import log
from rbee.errors import RbeeError, Timeout
from rbee.orchestrator_core import explain
from rbee.orchestrator_core.policy import QUEUE_SHOWN, Plain, job_row
from rbee.orchestrator_core.rates import Rates, start_ms
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.scheduling import Decision, Evict, Refuse, Run, Spawn, Wait, decide, seats_of
from rbee.orchestrator_core.view import Key, View
from rbee.orchestrator_core.warmth import blocks_of
from rbee.queen.deadlines import Deadlines
from rbee.queen.errands import Errands
from rbee.queen.evictor import Evictor
from rbee.queen.job import Job, Need, item, need_of, now_ms
from rbee.queen.jobs import Jobs
from rbee.queen.policy import Policy
from rbee.queen.pools import Pools
from rbee.queen.spawner import Spawner
from rbee.queen.store import workers
from rbee.queen.store.jobs import Stale
from rbee.queen.store.store import Store
from rbee.wire.events import Queued
from rbee.wire.jobs import JobSpec
from rbee.wire.workers import WorkerState

TICK_S = 1.0
STUCK_S = 30.0
REASONS = 50
"""How many reasons for waiting are remembered for each need."""

_TELL_FIRST_S, _TELL_GROWTH, _TELL_LONGEST_S = 0.1, 1.15, 30.0
"""A waiting job's readers are told of a change at once, then less and less often."""


class Dispatcher:
    """Owns the decisions; nobody else starts, retries or times out a job.

    Args:
        policy: asked about every decision.
        strategy: which of ``strategies.STRATEGIES``.
        limits: seconds a job may run by default, and at most.
    """

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        pools: Pools,
        errands: Errands,
        *,
        policy: Policy,
        strategy: str,
        limits: tuple[float, float],
    ) -> None:
        self.policy = policy
        self.strategy = strategy
        self.rates = Rates()
        self.deadlines = Deadlines(limits)
        self._store = store
        self._jobs = jobs
        self._pools = pools
        self._errands = errands
        self._spawner = Spawner(pools, done=self._spawned, noted=self._noted, changed=jobs.changed.set)
        self._evictor = Evictor(pools, noted=self._noted, changed=jobs.changed.set)
        self._reasons: dict[Need, deque[tuple[int, str]]] = {}
        self._hopes: dict[Need, Place] = {}
        self._look_again_s: float | None = None
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
        await self._evictor.close()
        while self._side:
            await asyncio.wait(set(self._side))

    def standstill(self) -> str | None:
        """Return what does not move, for the watchdog."""
        if self._task is not None and self._task.done():
            return "the dispatcher has ended"
        still_s = time.monotonic() - self._ticked_s
        return f"the dispatcher has not looked for {still_s:.0f} s" if still_s > STUCK_S else None

    def view(self) -> View:
        """Return what is known now."""
        waiting: Counter[str] = Counter()
        for need, depth in self._jobs.queue.depths().items():
            waiting[need.model] += depth  # type: ignore[attr-defined]  # all needs are ours
        rates = {model: self.rates.of(model) for model in waiting}
        return View(
            fleet=self._pools.fleet(),
            now_s=time.monotonic(),
            in_flight=self._errands.in_flight,
            used=self._errands.used,
            waiting=waiting,
            spawning=self._spawner.spawning(),
            leaving=self._evictor.leaving,
            job_ms={model: rate.job_ms(rate.tokens_out) for model, rate in rates.items() if rate is not None},
            strategy=self.strategy,
            settling=self._pools.settling(),
        )

    def decide(self, spec: JobSpec, view: View, context_tokens: int = 0) -> Decision:
        """Return what would be done with a job of that kind now."""
        warm = self._errands.warmth.match(blocks_of(spec), spec.session)
        return decide(spec, view, warm=warm, context_tokens=context_tokens)

    def predict_ms(self, job: Job | None, spec: JobSpec) -> int | None:
        """Return in how many ms ``job``, or a new one of that kind, may start; None where nothing is known.

        From what jobs of this model took lately, and how far those are that run.
        """
        names, view = self._jobs.names, self.view()
        need = need_of(spec, names) if job is None else job.need(names)
        rate = self.rates.of(need.model)
        ahead = self._jobs.queue.ahead(None if job is None else job.id, need)
        up = (WorkerState.READY, WorkerState.BUSY)
        seats = [seat for seat in seats_of(spec, view, {}) if seat.worker.state in up]
        busy_ms = self._errands.remaining_ms({(seat.pool, seat.worker.id) for seat in seats}, self.rates, need.model)
        free = sum(max(0, seat.free) for seat in seats)
        if free > ahead:
            return 0
        load_ms = 0.0 if seats else self._spawner.remaining_ms(need.model, view)
        if load_ms is None or (rate is None and (ahead or seats)):
            return None
        job_ms = 0.0 if rate is None else rate.job_ms(spec.max_tokens)
        return int(start_ms(busy_ms, free, ahead, job_ms, load_ms))

    def usual_ms(self, spec: JobSpec) -> float | None:
        """Return how long a job like that takes; None where nothing is known."""
        rate = self.rates.of(self._jobs.names.canonical(spec.model))
        return None if rate is None else rate.job_ms(spec.max_tokens)

    def told(self, decision: Decision) -> str:
        """Return what a job that waits is told of ``decision``."""
        match decision:
            case Wait(reason):
                return reason
            case Spawn():
                return explain.spawn_sentence(decision)
            case Evict():
                return explain.evict_sentence(decision)
        return ""

    def considering(self, job: Job) -> Sequence[Mapping[str, Any]]:
        """Return what is said of a job that waits: what it waited for, and who is considered for it now."""
        view = self.view()
        warm = self._errands.warmth.match(job.blocks, job.spec.session)
        waited = [{"decision": "wait", "sentence": each["reason"], **each} for each in self.why_waiting(job)]
        now = {"at_ms": now_ms(), "decision": "consider", "sentence": f"waits: {self.reason_of(job)}"}
        return (*waited, {**now, "considered": explain.considered(job.spec, view, warm)})

    def why_waiting(self, job: Job) -> Sequence[Mapping[str, Any]]:
        """Return what ``job`` waited for so far."""
        return explain.waited(list(self._reasons.get(job.need(self._jobs.names), ())), job.created_ms)

    def aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something that nobody waits for; it is seen through before the queen stops."""
        task = asyncio.create_task(work, name=name)
        self._side.add(task)
        task.add_done_callback(self._done_aside)

    def refuse(self, job: Job, error: RbeeError) -> None:
        """Take a waiting job out of the queue and end it with ``error``."""
        self._jobs.queue.remove(job.id)
        self.aside(self._failed(job, error), f"fail-{job.id}")

    def _done_aside(self, task: "asyncio.Task[None]") -> None:
        self._side.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Stale):
            log.error("task.failed", task=task.get_name(), error=repr(error))

    async def _run(self) -> None:
        while True:
            self._ticked_s = time.monotonic()
            self._jobs.changed.clear()
            self._jobs.queue.advance(self._ticked_s)
            self._expire()
            self._consider_all()
            self._tell_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._nap_s()):
                    await self._jobs.changed.wait()

    def _nap_s(self) -> float:
        now_s = time.monotonic()
        dues = [self._jobs.queue.next_due_s(), self._spawner.next_due_s(), self.deadlines.next_s(), self._look_again_s]
        return min([TICK_S, *(max(0.0, due_s - now_s) for due_s in dues if due_s is not None)])

    def _consider_all(self) -> None:
        """Look at the first of each need; who is given something makes way for the next of that need."""
        self._look_again_s = None
        view = self.view()
        for entry in self._jobs.queue.heads():
            job = self._jobs.live[entry.job]
            warm = self._errands.warmth.match(job.blocks, job.spec.session)
            builtin = decide(job.spec, view, warm=warm, context_tokens=job.context_tokens)
            decision = self.policy.decide(job.spec, builtin, view, partial(self._told_to_policy, job))
            self._hopes.pop(job.need(self._jobs.names), None)
            self._perform(job, decision, view, warm)
            if not isinstance(decision, Wait) and not (isinstance(decision, Run) and not decision.wakes):
                view = self.view()  # memory was promised
        self._retire_spares(view)
        for pool in list(view.fleet.overdue):
            self._errands.move(pool, f"pool {pool} is draining, and its deadline has passed")

    def _told_to_policy(self, job: Job) -> tuple[Plain, list[Plain]]:
        queue = [self._jobs.live[entry.job] for entry in islice(self._jobs.queue.order(), QUEUE_SHOWN)]
        return self._row(job), [self._row(each) for each in queue]

    def _row(self, job: Job) -> Plain:
        return job_row(
            job.spec,
            job=job.id,
            caller=job.caller,
            waited_ms=int((time.monotonic() - job.arrived_s) * 1000),
            attempts=job.attempts,
            model=self._jobs.names.canonical(job.spec.model),
        )

    def _perform(self, job: Job, decision: Decision, view: View, warm: Mapping[Key, int]) -> None:
        match decision:
            case Run(pool, worker):
                self._errands.begin(job, pool, worker, self._record(job, decision, view, warm))
            case Spawn(place, spec, need):
                self._hopes[job.need(self._jobs.names)] = place
                why = explain.spawn_sentence(decision)
                self._wait(job, self._spawner.ask(place, spec, need, job=job.id, why=why))
            case Evict(place, victims):
                self._wait(job, explain.evict_sentence(decision))
                for victim in victims:
                    self._evictor.evict(victim, model=place.model, job=job.id)
            case Wait(reason, absent, until_s):
                if absent:
                    self._pools.wake()
                self._look_again_s = min(filter(None, (until_s, self._look_again_s)), default=None)
                self._wait(job, reason)
            case Refuse(error):
                self.refuse(job, error)
            case _:
                assert_never(decision)

    def _record(self, job: Job, decision: Run, view: View, warm: Mapping[Key, int]) -> Mapping[str, Any]:
        """Return what is kept of the decision that ends a job's waiting."""
        return {
            "decision": "run",
            "pool": decision.pool,
            "worker": decision.worker,
            "attempt": job.attempts + 1,
            "sentence": explain.run_sentence(decision, view),
            "considered": explain.considered(job.spec, view, warm),
            "waited": self.why_waiting(job),
        }

    def _wait(self, job: Job, reason: str) -> None:
        """Remember why all with the need of ``job`` wait."""
        told = self._reasons.setdefault(job.need(self._jobs.names), deque(maxlen=REASONS))
        if not told or told[-1][1] != reason:
            told.append((now_ms(), reason))

    def reason_of(self, job: Job) -> str:
        """Return why ``job`` waits; what became of it, once it does not."""
        told = self._reasons.get(job.need(self._jobs.names))
        return told[-1][1] if told and job.id in self._jobs.queue and not job.pausing else job.reason

    def _tell_all(self) -> None:
        """Let the readers of waiting jobs know that a place, a reason or a prediction changed."""
        depths = self._jobs.queue.depths()
        self._reasons = {need: told for need, told in self._reasons.items() if need in depths}
        self._hopes = {need: place for need, place in self._hopes.items() if need in depths}
        now_s = time.monotonic()
        for each in list(self._jobs.watched):
            job = self._jobs.live[each]
            place = self._jobs.queue.position(each)
            if place is not None and now_s >= job.tell_after_s:
                self._tell(job, place, now_s)

    def _tell(self, job: Job, place: int, now_s: float) -> None:
        reason = self.reason_of(job)
        if job.told == (place, reason):
            return
        job.told, job.reason = (place, reason), reason
        job.tellings += 1
        job.tell_after_s = now_s + min(_TELL_FIRST_S * _TELL_GROWTH**job.tellings, _TELL_LONGEST_S)
        event = Queued(position=place, predicted_start_ms=self.predict_ms(job, job.spec), reason=reason)
        self.aside(job.record([item(event)]), f"tell-{job.id}")

    def _spawned(self, place: Place, error: RbeeError | None) -> None:
        """A spawn ended. If there will be no worker, those who waited for just that one hear why."""
        hoping = [need for need, hope in self._hopes.items() if hope == place] if error is not None else []
        for entry in [entry for need in hoping for entry in self._jobs.queue.waiting_for(need)]:
            if error is not None:
                self.refuse(self._jobs.live[entry.job], error)
        self._jobs.changed.set()

    async def _noted(self, key: Key, what: str, why: str, job: str) -> None:
        """Keep what was decided about a worker, for ``workers explain``."""
        with contextlib.suppress(RbeeError):
            await self._store.write(workers.note, key, what, why, job, now_ms())

    def _retire_spares(self, view: View) -> None:
        for pool, worker in view.fleet.spares():
            key, model = (pool, worker.id), view.fleet.names.canonical(worker.model)
            idle = worker.state is WorkerState.ASLEEP and not view.in_flight.get(key) and not view.waiting.get(model)
            if idle and key not in view.leaving:
                self._evictor.retire(key)

    async def _failed(self, job: Job, error: RbeeError) -> None:
        await job.fail(error)
        log.event("job.ended", job=job.id, state=job.state.value, code=error.code, error=error.message)
        self._jobs.ended(job)

    def _expire(self) -> None:
        for job, why in self.deadlines.passed(self._jobs.live, time.monotonic()):
            job.verdict = Timeout(
                why, hint="allow it more time: deadline_ms (jobs submit --deadline), or [queen] job_limit_s"
            )
            if self._jobs.queue.remove(job.id):
                self.refuse(job, job.verdict)
            else:
                self.aside(self._errands.stop(job), f"stop-{job.id}")
