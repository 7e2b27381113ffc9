"""Houses that are too small for their models, with jobs that come as they like: nothing is promised twice, nobody who
works is sent away, and every job is done in the end.

The pools here are FAKE and obedient: they do what the decisions say, some ticks later. What they tell is as old as the
tick, and never says who is busy: that the queen has to know herself.
"""

import dataclasses
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rbee.orchestrator_core.queue import Queue, Waiting
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.scheduling import Evict, Refuse, Run, Spawn, Wait, decide
from rbee.orchestrator_core.view import Use, View
from rbee.wire.jobs import JobSpec, Priority
from rbee.wire.pools import Need, PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus
from tests.unit.orchestrator_core.snapshots import GIB, device, registry, snapshot

NEEDS = {"small": 2, "middle": 4, "large": 7}
"""GiB that a worker of each model takes; a GPU has 8."""

SLOTS = {"small": 3, "middle": 1, "large": 1}
TOTAL = 8
POOLS = ("blep", "mac")
LOAD_TICKS, EVICT_TICKS, LONGEST_TICKS = 2, 1, 400


@dataclass
class Worker:
    pool: str
    id: str
    model: str
    state: WorkerState = WorkerState.STARTING
    ticks: int = LOAD_TICKS
    pinned: bool = False
    jobs: dict[str, int] = field(default_factory=dict)
    leaving: int | None = None

    @property
    def gib(self) -> int:
        return 0 if self.state is WorkerState.ASLEEP else NEEDS[self.model]


class Houses(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[tuple[str, str], Worker] = {}
        self.queue = Queue()
        self.specs: dict[str, JobSpec] = {}
        self.done: set[str] = set()
        self.spawning: dict[Place, int] = {}
        self.told: list[PoolSnapshot] = []
        self.used: dict[tuple[str, str], Use] = {}
        self.arrived_s: dict[str, float] = {}
        self.now_s = 0.0
        self.made = 0

    @initialize(pinned=st.booleans(), asleep=st.sets(st.sampled_from(sorted(NEEDS))))
    def begin(self, pinned: bool, asleep: set[str]) -> None:
        for model in sorted(asleep):
            for pool in POOLS:
                self.workers[pool, f"old-{model}"] = Worker(pool, f"old-{model}", model, WorkerState.ASLEEP)
        if pinned:
            self.workers["mac", "pinned"] = Worker("mac", "pinned", "small", WorkerState.READY, pinned=True)

    @rule(model=st.sampled_from(sorted(NEEDS)), batch=st.booleans(), caller=st.sampled_from(["ann", "bob"]))
    def submit(self, model: str, batch: bool, caller: str) -> None:
        job = f"job-{len(self.specs)}"
        self.specs[job] = JobSpec(model=model, prompt="x", priority=Priority.BATCH if batch else Priority.INTERACTIVE)
        self.arrived_s[job] = self.now_s
        entry = Waiting(
            job=job, number=len(self.specs), priority=self.specs[job].priority, caller=caller,
            arrived_s=self.now_s, need=model,
        )  # fmt: skip
        self.queue.push(entry, self.now_s)

    @rule()
    def tick(self) -> None:
        """Let a second pass at the pools, then decide on what they say."""
        self.now_s += 1
        for worker in self.workers.values():
            self._work(worker)
        self.told = [self._snapshot(pool) for pool in POOLS]
        known = {(snapshot.id, worker.model) for snapshot in self.told for worker in snapshot.workers}
        self.spawning = {place: need for place, need in self.spawning.items() if (place.pool, place.model) not in known}
        self._decide_all()

    @precondition(lambda self: any(worker.jobs for worker in self.workers.values()))
    @rule()
    def crash(self) -> None:
        """The first worker that has work dies; systemd starts it again, and its jobs wait once more."""
        worker = next(worker for worker in self.workers.values() if worker.jobs)
        for job in worker.jobs:
            entry = Waiting(
                job=job, number=0, priority=self.specs[job].priority, caller="ann", arrived_s=0.0,
                need=self.specs[job].model, again=True,
            )  # fmt: skip
            self.queue.push(entry, self.now_s)
        worker.jobs.clear()
        worker.state, worker.ticks, worker.leaving = WorkerState.STARTING, LOAD_TICKS, None

    @invariant()
    def no_gpu_holds_more_than_it_has(self) -> None:
        for pool in POOLS:
            used = sum(worker.gib for worker in self.workers.values() if worker.pool == pool)
            assert used <= TOTAL, f"{used} GiB on {pool}: {self.workers}"

    @invariant()
    def no_worker_has_more_than_its_slots(self) -> None:
        assert all(len(worker.jobs) <= SLOTS[worker.model] for worker in self.workers.values())

    def teardown(self) -> None:
        for _ in range(LONGEST_TICKS):
            if len(self.done) == len(self.specs):
                return
            self.tick()
            self.no_gpu_holds_more_than_it_has()
        raise AssertionError(f"never done: {set(self.specs) - self.done}; {self.workers}")

    def _work(self, worker: Worker) -> None:
        if worker.state is WorkerState.STARTING:
            worker.ticks -= 1
            worker.state = WorkerState.STARTING if worker.ticks > 0 else WorkerState.READY
        for job in list(worker.jobs):
            worker.jobs[job] -= 1 if worker.state is WorkerState.READY else 0
            if worker.jobs[job] <= 0:
                del worker.jobs[job]
                self.done.add(job)
                self.used[worker.pool, worker.id] = Use(self.now_s)
        if worker.leaving is not None:
            assert not worker.jobs, "one that works was sent away"
            worker.leaving -= 1
            if worker.leaving < 0:
                worker.state, worker.leaving = WorkerState.ASLEEP, None

    def _view(self) -> View:
        waiting = {str(need): depth for need, depth in self.queue.depths().items()}
        return View(
            fleet=registry(*self.told).fleet(0.0),
            now_s=self.now_s,
            in_flight={key: len(worker.jobs) for key, worker in self.workers.items() if worker.jobs},
            used=self.used,
            waiting=waiting,
            spawning=self.spawning,
            leaving={key for key, worker in self.workers.items() if worker.leaving is not None},
        )

    def _snapshot(self, pool: str):  # type: ignore[no-untyped-def]
        here = [worker for worker in self.workers.values() if worker.pool == pool]
        told = tuple(
            WorkerStatus(
                id=w.id, state=w.state, model=w.model,
                backend=Backend.CUDA, gpu=0, address="", need_bytes=NEEDS[w.model] * GIB, pinned=w.pinned, load_ms=2000,
                since_ms=0, slots=SLOTS[w.model],
            )
            for w in here
        )  # fmt: skip
        free = TOTAL - sum(worker.gib for worker in here)
        needs = tuple(Need(model=m, backend=Backend.CUDA, bytes=n * GIB, ctx=4096) for m, n in NEEDS.items())
        made = snapshot(
            pool, *told, models=tuple(NEEDS), devices=(device(0, free=free * GIB, total=TOTAL * GIB),), needs=needs
        )
        return dataclasses.replace(made, at_ms=int(self.now_s * 1000))

    def _decide_all(self) -> None:
        self.queue.advance(self.now_s)
        view, claims = self._view(), ()
        for head in self.queue.heads():
            decision = decide(self.specs[head.job], view, waited_s=self.now_s - self.arrived_s[head.job])
            match decision:
                case Run(pool, worker, wakes):
                    self._run(head.job, self.workers[pool, worker], wakes=wakes)
                case Spawn(place, spec, _):
                    self._spawn(place, spec.model)
                case Evict(_, victims):
                    for victim in victims:
                        self._evict(self.workers[victim.pool, victim.worker])
                case Wait():
                    claims = claims if decision.claim is None else (*claims, decision.claim)
                case Refuse(error):
                    raise AssertionError(f"{head.job} was refused: {error.message}")
            view = dataclasses.replace(self._view(), claims=claims)

    def _run(self, job: str, worker: Worker, *, wakes: bool) -> None:
        assert worker.leaving is None and len(worker.jobs) < SLOTS[worker.model]
        assert (worker.state is WorkerState.ASLEEP) == wakes or worker.jobs, "one who is being woken looks asleep still"
        if wakes:
            worker.state, worker.ticks = WorkerState.STARTING, LOAD_TICKS
        worker.jobs[job] = 2 + int(job.removeprefix("job-")) % 3
        self.queue.serve(job)
        self.used[worker.pool, worker.id] = Use(self.now_s)

    def _spawn(self, place: Place, model: str) -> None:
        if place in self.spawning:
            return
        self.made += 1
        self.spawning[place] = NEEDS[model] * GIB
        name = f"worker-{self.made}"
        self.workers[place.pool, name] = Worker(place.pool, name, model)

    def _evict(self, worker: Worker) -> None:
        assert not worker.pinned and not worker.jobs and worker.state is WorkerState.READY
        worker.leaving = EVICT_TICKS


Houses.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHouses = Houses.TestCase


def test_a_large_model_gets_its_turn_though_small_ones_never_cease() -> None:
    house = Houses()
    house.begin(pinned=False, asleep=set())
    for _ in range(30):
        _flood(house)
    house.submit(model="large", batch=False, caller="bob")
    large = next(reversed(house.specs))
    for _ in range(25):
        _flood(house)
        house.no_gpu_holds_more_than_it_has()
        if large in house.done:
            break
    assert large in house.done, f"it waits still: {house.workers}"
    assert len(house.done) > house.now_s, "and the small ones were not stopped for it"


def _flood(house: Houses) -> None:
    """Let more jobs come than there are slots for."""
    for _ in range(3):
        house.submit(model="small", batch=False, caller="ann")
    house.tick()
