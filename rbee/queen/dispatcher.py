"""The loop that decides: whenever something changed, the first waiting job of each need is looked at once more."""

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

from rbee import log
from rbee.errors import RbeeError, Timeout
from rbee.orchestrator_core import explain
from rbee.orchestrator_core.moment import QUEUE_SHOWN, Plain
from rbee.orchestrator_core.rates import Rates
from rbee.orchestrator_core.rooms import Place, place_text
from rbee.orchestrator_core.scheduling import Decision, Evict, Refuse, Run, Spawn, Wait, decide
from rbee.orchestrator_core.view import Claim, Key, View
from rbee.orchestrator_core.warmth import blocks_of, session_of
from rbee.queen.clock import Clock
from rbee.queen.deadlines import Deadlines
from rbee.queen.errands import Errands
from rbee.queen.evictor import Evictor
from rbee.queen.forecast import Forecast, Outlook
from rbee.queen.held import Held
from rbee.queen.job import Job, Need
from rbee.queen.jobs import Jobs
from rbee.queen.policy import Policy
from rbee.queen.pools import Pools
from rbee.queen.reasons import Reasons
from rbee.queen.spawner import Spawner
from rbee.queen.store import workers
from rbee.queen.store.jobs import Stale
from rbee.queen.store.store import Store
from rbee.wire.jobs import JobSpec
from rbee.wire.workers import WorkerState

TICK_S = 1.0
STUCK_S = 30.0

PASSED = 10
"""So many whom the policy alone has wait let others of their need go first; the policy is asked about each of those."""


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
        clock: Clock,
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
        self._forecast = Forecast(jobs, errands, self._spawner, self.rates)
        self._held = Held(clock)
        self.reasons = Reasons(clock, jobs, self._forecast, self._held, self.aside)
        self._hopes: dict[Need, Place] = {}
        self._claims: tuple[Claim, ...] = ()
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
        """Return what is known now, as it is for whoever comes after all that wait."""
        return self._view(self._claims)

    def _view(self, claims: tuple[Claim, ...]) -> View:
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
            failed=self._spawner.failed(),
            leaving=self._evictor.leaving,
            job_ms={model: rate.usual_ms for model, rate in rates.items() if rate is not None},
            strategy=self.strategy,
            settling=self._pools.settling(),
            claims=claims,
        )

    def decide(self, spec: JobSpec, caller: str, view: View, context_tokens: int = 0) -> Decision:
        """Return what would be done with a job of that kind now."""
        warm = self._errands.warmth.match(blocks_of(spec), session_of(caller, spec))
        return decide(spec, view, warm=warm, context_tokens=context_tokens)

    def record_of(self, spec: JobSpec, caller: str, decision: Run, view: View) -> Mapping[str, Any]:
        """Return what is kept of the decision about a new job that does not wait."""
        warm = self._errands.warmth.match(blocks_of(spec), session_of(caller, spec))
        return _run_record(spec, decision, view, warm, 1)

    def predict_ms(self, job: Job, view: View | None = None) -> int | None:
        """Return in how many ms ``job`` may start; None where nothing is known, or it does not wait."""
        return self._forecast.of(job, view or self.view())

    def outlook(self, spec: JobSpec, caller: str, coming: Sequence[JobSpec], view: View) -> Outlook:
        """Return what a new job would have before it; ``coming`` are accepted and not in the queue yet."""
        return self._forecast.of_new(spec, caller, coming, view)

    def next_ms(self) -> int | None:
        """Return in how many ms the next of those that wait may start."""
        return self._forecast.next_ms(self.view())

    def told(self, decision: Decision) -> str:
        """Return what a job that waits is told of ``decision``."""
        match decision:
            case Wait(reason):
                return reason
            case Spawn(_, _, _, meanwhile):
                starting = explain.spawning_sentence(decision)
                return f"{meanwhile}; {starting}" if meanwhile else starting
            case Run(pool, worker, wakes=True):
                return f"waking {worker} on {pool}"
            case Evict():
                return explain.evict_sentence(decision)
        return ""

    def considering(self, job: Job) -> Sequence[Mapping[str, Any]]:
        """Return what is said of a job that waits: what it waited for, and who is considered for it now."""
        view = self.view()
        warm = self._errands.warmth.match(job.blocks, job.session)
        waited = [{"decision": "wait", "sentence": each["reason"], **each} for each in self.reasons.waited(job)]
        now = {"at_ms": job.at_ms(), "decision": "consider", "sentence": f"waits: {self.reasons.of(job)}"}
        now |= {"policy": note} if (note := self.policy.note(job.id)) else {}
        return (*waited, {**now, "considered": explain.considered(job.spec, view, warm)})

    def aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something that nobody waits for; it is seen through before the queen stops."""
        task = asyncio.create_task(work, name=name)
        self._side.add(task)
        task.add_done_callback(self._done_aside)

    def refuse(self, job: Job, error: RbeeError) -> None:
        """Take a waiting job out of the queue and end it with ``error``."""
        job.waited = self.reasons.waited(job)
        self._jobs.queue.remove(job.id)
        self.aside(self._failed(job, error), f"fail-{job.id}")

    def _done_aside(self, task: "asyncio.Task[None]") -> None:
        self._side.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Stale):
            log.foreign("task.failed", error, task=task.get_name())

    async def _run(self) -> None:
        while True:
            self._ticked_s = time.monotonic()
            self._jobs.changed.clear()
            self._jobs.queue.advance(self._ticked_s)
            self._expire()
            self._consider_all()
            self._hopes = {need: place for need, place in self._hopes.items() if need in self._jobs.queue.depths()}
            self.reasons.forget()
            self.reasons.tell_all(self.view())
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
        claims: tuple[Claim, ...] = ()
        view, passed = self._view(claims), set[str]()
        for entry in self._jobs.queue.heads(passed):
            job = self._jobs.live[entry.job]
            warm = self._errands.warmth.match(job.blocks, job.session)
            waited_s = view.now_s - job.arrived_s
            builtin = decide(job.spec, view, warm=warm, context_tokens=job.context_tokens, waited_s=waited_s)
            asked = partial(self._told_to_policy, job)
            decision = self.policy.decide(job.spec, builtin, view, asked, job.context_tokens)
            self._hopes.pop(job.need(self._jobs.names), None)
            self._held.release(job.id)
            if isinstance(decision, Wait) and decision is not builtin and len(passed) < PASSED:
                self._held.hold(job.id, decision.reason)
                passed.add(job.id)
            self._perform(job, decision, view, warm)
            if isinstance(decision, Wait) and decision.claim is not None:
                claims = (*claims, decision.claim)
                view = dataclasses.replace(view, claims=claims)
            elif not isinstance(decision, Wait) and not (isinstance(decision, Run) and not decision.wakes):
                view = self._view(claims)  # memory was promised
        self._claims = claims
        self._retire_spares(view)
        for pool in list(view.fleet.overdue):
            self._errands.move(pool)

    def _told_to_policy(self, job: Job) -> tuple[Plain, list[Plain]]:
        names, first = self._jobs.names, self._jobs.queue.first(QUEUE_SHOWN)
        return job.row(names), [self._jobs.live[entry.job].row(names) for entry in first]

    def _perform(self, job: Job, decision: Decision, view: View, warm: Mapping[Key, int]) -> None:
        match decision:
            case Run(pool, worker):
                self._errands.begin(job, pool, worker, self._record(job, decision, view, warm))
            case Spawn(place, spec, need, meanwhile):
                if not meanwhile:
                    self._hopes[job.need(self._jobs.names)] = place
                told = self._spawner.ask(place, spec, need, job=job.id, why=explain.spawn_sentence(decision))
                self.reasons.note(job, f"{meanwhile}; {told}" if meanwhile else told)
            case Evict(place, victims):
                self.reasons.note(job, explain.evict_sentence(decision))
                for victim in victims:
                    self._evictor.evict(victim, model=place.model, job=job.id)
            case Wait(reason, absent, until_s):
                if absent:
                    self._pools.wake()
                self._look_again_s = min(filter(None, (until_s, self._look_again_s)), default=None)
                if not self._held.reason(job.id):
                    self.reasons.note(job, reason)
            case Refuse(error):
                self.refuse(job, error)
            case _:
                assert_never(decision)

    def _record(self, job: Job, decision: Run, view: View, warm: Mapping[Key, int]) -> Mapping[str, Any]:
        """Return what is kept of the decision that ends a job's waiting."""
        said = {"policy": note} if (note := self.policy.note(job.id)) else {}
        record = _run_record(job.spec, decision, view, warm, job.attempts + 1)
        return {**record, **said, "waited": self.reasons.waited(job)}

    def _spawned(self, place: Place, error: RbeeError | None) -> None:
        """A spawn ended. If there will be no worker, those hear why who waited for just that one and have no other way.

        All with the same need have the same way.
        """
        hoping = [need for need, hope in self._hopes.items() if hope == place] if error is not None else []
        for waiting in [self._jobs.queue.waiting_for(need) for need in hoping]:
            jobs = [self._jobs.live[entry.job] for entry in waiting]
            if error is not None and jobs and not self._has_another_way(jobs[0], place, error):
                for job in jobs:
                    self.refuse(job, error)
        self._jobs.changed.set()

    def _has_another_way(self, job: Job, place: Place, error: RbeeError) -> bool:
        decision = decide(job.spec, self._view(()), context_tokens=job.context_tokens)
        stuck = isinstance(decision, Refuse) or (isinstance(decision, Spawn) and decision.place == place)
        self.reasons.note(job, f"no worker could be started on {place_text(place)}: {error.message}")
        return not stuck

    async def _noted(self, key: Key, what: str, why: str, job: str, at_ms: int) -> None:
        """Keep what was decided about a worker, for ``workers explain``."""
        with contextlib.suppress(RbeeError):
            await self._store.write(workers.note, key, what, why, job, at_ms)

    def _retire_spares(self, view: View) -> None:
        """Stop the spare workers that sleep and nobody waits for, but never the last of a model."""
        for pool, worker in view.fleet.spares():
            key, model = (pool, worker.id), view.fleet.names.canonical(worker.model)
            idle = worker.state is WorkerState.ASLEEP and not view.in_flight.get(key) and not view.waiting.get(model)
            if idle and key not in self._evictor.leaving:
                others = {(other.id, each.id) for other, each in view.fleet.workers(model)} - {key}
                if others - set(self._evictor.leaving):
                    self._evictor.retire(key)

    async def _failed(self, job: Job, error: RbeeError) -> None:
        await job.fail(error)
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


def _run_record(spec: JobSpec, decision: Run, view: View, warm: Mapping[Key, int], attempt: int) -> Mapping[str, Any]:
    return {
        "decision": "run",
        "pool": decision.pool,
        "worker": decision.worker,
        "attempt": attempt,
        "sentence": explain.run_sentence(decision, view),
        "considered": explain.considered(spec, view, warm),
        "waited": (),
    }
