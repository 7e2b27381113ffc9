"""What the fleet works out once for each snapshot is what a look at the snapshots themselves says.

The plain functions here read nothing but the last snapshots and what the queen knows: each decision from scratch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.orchestrator_core import eviction, places
from rbee.orchestrator_core.devices import DeviceKey, is_on, key_of, keys_of, share
from rbee.orchestrator_core.eviction import Victim
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.rooms import Place, Room
from rbee.orchestrator_core.scheduling import Decision, Refuse, decide
from rbee.orchestrator_core.view import Use, View
from rbee.wire.catalog import ModelEntry
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.pools import PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus
from tests.unit.orchestrator_core.snapshots import GIB, cuda, device, need, registry, rocm, snapshot, worker

NAMES = Names([ModelEntry(id="tiny", reference="hf:org/tiny", aliases=("little",))])
MODELS = ("tiny", "middle", "large")
POOLS = ("attic", "blep", "mac")
GONE = (WorkerState.ASLEEP, WorkerState.STOPPED, WorkerState.FAILED)
Known = Mapping[str, Any]


@st.composite
def workers(draw: st.DrawFn, number: int) -> WorkerStatus:
    facts = {
        "model": draw(st.sampled_from(("tiny", "little", "middle"))),
        "state": draw(st.sampled_from(list(WorkerState))),
        "pinned": draw(st.booleans()),
        "priority": draw(st.sampled_from((0, 0, -5, 10))),
        "load_ms": draw(st.sampled_from((None, 500, 9000))),
        "since_ms": draw(st.sampled_from((None, 0, 8_000, 9_900))),
        "need_bytes": draw(st.integers(0, 5)) * GIB,
    }
    if draw(st.booleans()):
        return worker(number, **facts)
    gpus = draw(st.sampled_from(((), (), (0, 1))))
    of_vendor = draw(st.sampled_from((cuda, cuda, rocm)))
    return of_vendor(number, gpu=draw(st.integers(0, 1)), gpus=gpus, need=facts.pop("need_bytes"), **facts)


@st.composite
def pool_snapshots(draw: st.DrawFn, pool: str) -> PoolSnapshot:
    total = 8 * GIB
    devices = [device(None, free=draw(st.integers(0, 8)) * GIB)] if draw(st.booleans()) else []
    for vendor in ("nvidia", "amd"):
        for gpu in range(draw(st.integers(0, 2))):
            problem, free = draw(st.sampled_from(("", "", "lost"))), draw(st.integers(0, 8)) * GIB
            devices.append(device(gpu, free=free, total=total, problem=problem, vendor=vendor))
    here = [draw(workers(number)) for number in range(draw(st.integers(0, 4)))]
    needs = [
        replace(
            need(model, takes=draw(st.integers(1, 12)) * GIB, backend=backend),
            gpu=None if backend is Backend.CPU else draw(st.sampled_from((None, None, 1))),
        )
        for model in MODELS
        for backend in (Backend.CPU, Backend.CUDA, Backend.ROCM)
        if draw(st.booleans())
    ]
    having = draw(st.lists(st.sampled_from(MODELS), unique=True))
    return snapshot(
        pool, *here, models=tuple(having), devices=tuple(devices), needs=tuple(needs), draining=draw(st.booleans())
    )


@st.composite
def houses(draw: st.DrawFn) -> tuple[list[PoolSnapshot], Known]:
    """Return what was heard, one after the other, and what the queen knows besides."""
    heard = [draw(pool_snapshots(draw(st.sampled_from(POOLS)))) for _ in range(draw(st.integers(1, 6)))]
    keys = sorted({(each.id, one.id) for each in heard for one in each.workers})
    some = st.sets(st.sampled_from(keys)) if keys else st.just(set())
    places_ = st.builds(
        Place,
        st.sampled_from(POOLS),
        st.sampled_from(MODELS),
        st.sampled_from((Backend.CUDA, Backend.ROCM)),
        st.sampled_from((None, 0, 1)),
    )
    known = {
        "now_s": 100.0,
        "in_flight": dict.fromkeys(draw(some), 1),
        "leaving": draw(some),
        "used": {key: Use(draw(st.floats(0, 100)), batch=draw(st.booleans())) for key in draw(some)},
        "waiting": draw(st.dictionaries(st.sampled_from(MODELS), st.integers(0, 3))),
        "spawning": draw(st.dictionaries(places_, st.integers(0, 4).map(GIB.__mul__), max_size=2)),
    }
    return heard, known


JOBS = st.builds(
    JobSpec,
    model=st.sampled_from((*MODELS, "little")),
    prompt=st.just("x"),
    placement=st.builds(
        Placement,
        pool=st.sampled_from((None, None, *POOLS)),
        backend=st.sampled_from((None, "cpu", "cuda", "rocm")),
        gpu=st.sampled_from((None, None, 0)),
    ),
)


@settings(max_examples=150, deadline=None)
@given(houses(), JOBS)
def test_the_fleet_offers_what_the_snapshots_say(house: tuple[list[PoolSnapshot], Known], job: JobSpec) -> None:
    heard, known = house
    view = lived(heard, known, job)
    told = [(r.place, r.file, r.need, r.free, r.total, r.taken) for r in places.search(job, view).rooms]
    assert told == list(plain_rooms(job, view))


@settings(max_examples=150, deadline=None)
@given(houses(), st.sampled_from(POOLS), st.sampled_from((None, ("nvidia", 0), ("amd", 0))), st.integers(1, 8))
def test_who_is_evicted_is_who_the_snapshots_say(
    house: tuple[list[PoolSnapshot], Known], pool: str, device: DeviceKey, lacking: int
) -> None:
    view = lived(*house)
    assert list(eviction.clear(pool, device, lacking * GIB, view)) == plain_clear(pool, device, lacking * GIB, view)


@settings(max_examples=150, deadline=None)
@given(houses(), JOBS)
def test_nobody_is_passed_over_who_could_be_evicted(house: tuple[list[PoolSnapshot], Known], job: JobSpec) -> None:
    view = lived(*house, job)
    rooms = places.search(job, view).rooms
    seen = list(eviction.promising(rooms, view))
    for room in (room for room in rooms if room not in seen):
        assert plain_clear(room.place.pool, room.keys[0], 1, view) == []
        assert not eviction.leaving(room.place.pool, room.keys[0], view)


@settings(max_examples=150, deadline=None)
@given(houses(), JOBS)
def test_a_fleet_that_heard_more_decides_as_one_that_heard_only_the_last(
    house: tuple[list[PoolSnapshot], Known], job: JobSpec
) -> None:
    heard, known = house
    last: dict[str, PoolSnapshot] = {}
    for each in heard:
        last.pop(each.id, None)
        last[each.id] = each
    fresh = lived(list(last.values()), known)
    assert said(decide(job, lived(heard, known, job))) == said(decide(job, fresh))


def said(decision: Decision) -> object:
    return (decision.error.code, decision.error.message) if isinstance(decision, Refuse) else decision


def lived(heard: list[PoolSnapshot], known: Known, job: JobSpec | None = None) -> View:
    """Return the view of a queen who heard these, and was asked for such a job after each of them."""
    told = registry(names=NAMES)
    for each in heard:
        told = _hear(told, each)
        view = View(fleet=told.fleet(0.0), **known)
        if job is not None:
            places.search(job, view)
    return View(fleet=told.fleet(0.0), **known)


def _hear(told: Any, each: PoolSnapshot) -> Any:
    if told.claim(each.id) is None:
        told.register(registry(each).claim(each.id))
    told.heartbeat(each, 0.0)
    return told


def plain_rooms(job: JobSpec, view: View) -> Iterator[tuple[Place, str, int, int, int, bool]]:
    wanted = job.placement
    for pool, file in view.fleet.files(NAMES.canonical(job.model)):
        draining = pool.snapshot is None or pool.snapshot.draining
        if draining or wanted.pool not in (None, pool.id):
            continue
        assert pool.snapshot is not None
        told = [each.backend for each in pool.snapshot.needs if each.model == file.id]
        for backend in [each for each in pool.snapshot.backends if not told or each in told]:
            takes, only = view.fleet.need(pool.id, file, backend).bytes, view.fleet.need(pool.id, file, backend).gpu
            usable = [d for d in view.fleet.devices(pool.id) if backend in d.backends and not d.problem]
            usable = [each for each in usable if only in (None, each.gpu)]
            groups = [[each] for each in usable]
            if len(usable) > 1 and all(each.total_bytes < takes for each in usable):
                groups.append(usable)
            for group in groups:
                taken = any(
                    one.backend is backend
                    and NAMES.same(one.model, file.id)
                    and any(is_on(one, each) for each in group)
                    and one.state in (WorkerState.READY, WorkerState.BUSY, WorkerState.ASLEEP, WorkerState.STARTING)
                    for one in pool.workers
                )
                place = Place(pool.id, NAMES.canonical(file.id), backend, group[0].gpu if len(group) == 1 else None)
                if wanted.backend in (None, backend.value) and wanted.gpu in (None, place.gpu):
                    free = sum(max(0, each.free_bytes - view.promised[pool.id, key_of(each)]) for each in group)
                    yield place, file.id, takes, free, sum(each.total_bytes for each in group), taken


def plain_clear(pool: str, device: DeviceKey, lacking: int, view: View) -> list[Victim]:
    known = view.fleet.find(pool)
    chosen: list[tuple[int, float, Victim]] = []
    for one in known.workers if known else ():
        key = (pool, one.id)
        stays = one.state in GONE or key in view.leaving or eviction.keeps(key, one, view) is not None
        if not stays and device in keys_of(one, view.fleet.devices(pool)) and share(one) > 0:
            why = eviction._why(key, one, view)
            victim = Victim(pool=pool, worker=one.id, model=one.model, frees=share(one), why=why)
            chosen.append((one.priority, eviction.worth(key, one, view), victim))
    chosen.sort(key=lambda each: each[:2])
    taken: list[Victim] = []
    for *_, victim in chosen:
        if sum(each.frees for each in taken) < lacking:
            taken.append(victim)
    if sum(each.frees for each in taken) < lacking:
        return []
    return [each for each in taken if each in eviction._needed(taken, lacking)]


def test_the_plain_functions_see_something() -> None:
    """The comparisons above would hold of empty houses, too."""
    full = snapshot("blep", cuda(need=5 * GIB), devices=(device(0, free=GIB),), needs=(need(takes=4 * GIB),))
    view = lived([full], {"now_s": 100.0}, JobSpec(model="tiny", prompt="x"))
    rooms: list[Room] = list(places.search(JobSpec(model="tiny", prompt="x"), view).rooms)
    assert len(rooms) == len(list(plain_rooms(JobSpec(model="tiny", prompt="x"), view))) == 1
    assert [victim.worker for victim in plain_clear("blep", ("nvidia", 0), 3 * GIB, view)] == ["worker-cuda-0"]
    assert list(eviction.promising(rooms, view)) == rooms
