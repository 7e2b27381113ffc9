import asyncio
import dataclasses

import pytest

from rbee.errors import (
    BackendUnavailable,
    Conflict,
    InsufficientMemory,
    ModelLoadFailed,
    ModelNotFound,
    NoCapacity,
    NotFound,
    ShuttingDown,
    WorkerOom,
)
from rbee.pool_core import starting
from rbee.pool_core.ports import WorkerPlan
from rbee.wire.catalog import ModelKind
from rbee.wire.pools import Build, Gpu
from rbee.wire.workers import Backend, SpawnEvent, WorkerExit, WorkerSpec, WorkerState, WorkerStatus
from tests.fakes.pool import ASLEEP, GIB, PLAN, TINY, FakeGpus, FakeHost, FakeModels, FakePool, FakeUnits, facts_of

PIRATE = dataclasses.replace(TINY, id="pirate", kind=ModelKind.ADAPTER)


async def events(pool: FakePool, **wanted: object) -> list[SpawnEvent]:
    spec = WorkerSpec(backend=Backend.CPU, model=str(wanted.pop("model", "tiny")), **wanted)  # type: ignore[arg-type]
    return [event async for event in pool.service.spawn_worker(spec)]


async def spawn(pool: FakePool, **wanted: object) -> WorkerStatus:
    worker = (await events(pool, **wanted))[-1].worker
    assert worker is not None
    return worker


async def test_a_spawned_worker_is_ready_and_its_loading_was_told() -> None:
    told = await events(FakePool())
    assert [(event.state, event.progress) for event in told[:1]] == [("progress", 0.4)]
    worker = told[-1].worker
    assert worker is not None
    assert (worker.id, worker.state, worker.address) == ("worker-cpu-0", WorkerState.READY, "127.0.0.1:8001")


async def test_a_lazy_worker_is_not_started() -> None:
    assert (await spawn(FakePool(), lazy=True)).state is WorkerState.ASLEEP


async def test_taken_ports_and_ids_are_skipped() -> None:
    units = FakeUnits(strangers={8001, 8003}, hidden_ids={"worker-cpu-0"})
    pool = FakePool(units=units)
    first, second = await spawn(pool), await spawn(pool)
    assert (first.id, first.address) == ("worker-cpu-1", "127.0.0.1:8002")
    assert (second.id, second.address) == ("worker-cpu-2", "127.0.0.1:8004")


async def test_a_name_that_was_asked_for_and_is_taken_is_a_conflict() -> None:
    pool = FakePool()
    await spawn(pool, id="mine")
    with pytest.raises(Conflict, match="mine"):
        await spawn(pool, id="mine")
    assert list(pool.units.workers) == ["mine"]


async def test_no_port_left_is_no_capacity_and_leaves_nothing() -> None:
    pool = FakePool(units=FakeUnits(strangers=set(range(8001, 8006))))
    with pytest.raises(NoCapacity):
        await spawn(pool)
    assert pool.units.workers == {}


async def test_a_model_that_is_not_here_can_be_had() -> None:
    with pytest.raises(ModelNotFound) as refused:
        await spawn(FakePool(), model="llama3")
    assert refused.value.hint == "rbee-hive models download llama3"


async def test_nothing_is_made_for_a_model_that_does_not_fit() -> None:
    pool = FakePool(host=FakeHost(available_bytes=1 << 20))
    with pytest.raises(InsufficientMemory):
        await spawn(pool)
    assert pool.units.workers == {}


async def test_a_worker_that_eats_its_memory_at_the_start_is_told_and_removed() -> None:
    ended = WorkerExit(result="signal", code="killed/KILL", oom=True, at_ms=6000, memory_limit_bytes=10,
                       memory_peak_bytes=10)  # fmt: skip
    pool = FakePool(units=FakeUnits(will_end=ended))
    with pytest.raises(WorkerOom) as told:
        await spawn(pool)
    assert told.value.details["limit_bytes"] == 10
    assert pool.units.workers == {}


class LateJournal(FakeUnits):
    """Tells of an end only when it was asked so many times; ``unit`` is what is known without it."""

    looks = 3
    unit: WorkerExit | None = None

    async def last_exit(self, worker: str) -> WorkerExit | None:
        self.looks -= 1
        return self.unit if self.looks >= 0 else await super().last_exit(worker)


@pytest.mark.parametrize("unit", [None, WorkerExit(result="signal", at_ms=6000)], ids=["nothing", "the unit's result"])
async def test_how_a_start_ended_is_waited_for_where_the_journal_is_late(
    unit: WorkerExit | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LOOKS_S", (0.0,) * 4)
    units = LateJournal(will_end=WorkerExit(result="signal", code="killed/KILL", oom=True, at_ms=6000))
    units.unit = unit
    with pytest.raises(WorkerOom):
        await spawn(FakePool(units=units))


async def test_where_no_journal_comes_the_units_own_result_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LOOKS_S", (0.0,) * 3)
    units = LateJournal(will_end=WorkerExit(result="signal", at_ms=6000))
    units.unit = WorkerExit(result="oom-kill", oom=True, at_ms=6000)
    with pytest.raises(WorkerOom):
        await spawn(FakePool(units=units))


async def test_an_end_from_before_this_start_is_not_taken_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LOOKS_S", (0.0,))
    ended = WorkerExit(result="exit-code", oom=True, at_ms=100)
    pool = FakePool(units=FakeUnits(will_end=ended))
    with pytest.raises(ModelLoadFailed):
        await spawn(pool)


async def test_a_draining_pool_starts_nothing_and_says_how_to_go_on() -> None:
    pool = FakePool()
    await pool.service.drain_pool()
    with pytest.raises(ShuttingDown, match="blep is draining"):
        await spawn(pool)
    await pool.service.undrain_pool()
    assert (await spawn(pool)).state is WorkerState.READY


async def test_stop_forgets_the_worker() -> None:
    pool = FakePool()
    worker = await spawn(pool)
    await pool.service.stop_worker(worker.id)
    assert await pool.service.list_workers() == ()
    with pytest.raises(NotFound):
        await pool.service.stop_worker(worker.id)


async def test_drain_lets_a_worker_finish_and_nothing_wakes_it() -> None:
    pool = FakePool()
    worker = await spawn(pool)
    await pool.service.drain_worker(worker.id)
    assert pool.units.released == [worker.id]
    assert pool.control.drained == [(worker.address, f"secret of {worker.id}")]
    assert (await pool.service.get_worker(worker.id)).state is WorkerState.DRAINING


async def test_drain_of_a_sleeping_worker_is_a_stop() -> None:
    pool = FakePool()
    worker = await spawn(pool, lazy=True)
    await pool.service.drain_worker(worker.id)
    assert pool.units.workers == {}
    assert pool.control.drained == []


async def test_drain_of_one_that_is_just_falling_asleep_is_a_stop() -> None:
    pool = FakePool()
    worker = await spawn(pool)
    pool.control.deaf = True
    await pool.service.drain_worker(worker.id)
    assert (pool.units.released, pool.units.workers) == ([worker.id], {})


async def test_how_a_worker_ended_is_told_but_not_its_namesakes_end() -> None:
    pool = FakePool()
    pool.units.workers["worker-cpu-0"] = facts_of(made_ms=1000)
    pool.units.exits["worker-cpu-0"] = WorkerExit(result="watchdog", at_ms=2000)
    assert (await pool.service.get_worker("worker-cpu-0")).last_exit == pool.units.exits["worker-cpu-0"]
    pool.units.workers["worker-cpu-0"] = facts_of(made_ms=3000)
    assert (await pool.service.get_worker("worker-cpu-0")).last_exit is None


async def test_a_new_service_finds_all_workers_again() -> None:
    pool = FakePool()
    made = [await spawn(pool), await spawn(pool, id="mine", lazy=True)]
    assert list(await pool.service.list_workers()) == sorted(made, key=lambda worker: worker.id)


async def test_the_state_has_no_secrets_and_the_queens_snapshot_has() -> None:
    pool = FakePool()
    worker = await spawn(pool)
    state = await pool.service.get_state()
    assert state.worker_secrets == {}
    told = await pool.service.snapshot_for_queen()
    assert told.worker_secrets == {worker.id: f"secret of {worker.id}"}
    assert dataclasses.replace(told, worker_secrets={}) == state


async def test_a_model_in_use_is_not_deleted() -> None:
    pool = FakePool()
    worker = await spawn(pool, lazy=True)
    with pytest.raises(Conflict, match="used by worker-cpu-0"):
        await pool.service.delete_model("tiny")
    await pool.service.stop_worker(worker.id)
    await pool.service.delete_model("tiny")
    assert await pool.service.list_models() == ()


@dataclasses.dataclass
class SlowUnits(FakeUnits):
    """systemd that takes its time: ``begun`` once it was asked, and done when told to ``go_on``."""

    begun: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    go_on: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def create(self, plan: WorkerPlan) -> None:
        self.begun.set()
        await self.go_on.wait()
        await super().create(plan)


@pytest.mark.parametrize("model", ["tiny", "pirate"])
async def test_what_a_worker_that_is_being_made_will_read_is_not_deleted(model: str) -> None:
    units = SlowUnits()
    pool = FakePool(units=units, models=FakeModels({"tiny": TINY, "pirate": PIRATE}))
    async with asyncio.TaskGroup() as tasks:
        spawning = tasks.create_task(spawn(pool, model="tiny+pirate"))
        await units.begun.wait()
        deleting = tasks.create_task(refused_to_delete(pool, model))
        await asyncio.sleep(0)  # it has asked
        units.go_on.set()
    assert deleting.result() == f"model {model} is used by {spawning.result().id}"


async def refused_to_delete(pool: FakePool, model: str) -> str:
    with pytest.raises(Conflict) as refused:
        await pool.service.delete_model(model)
    return refused.value.message


async def test_logs_of_nobody_are_not_found() -> None:
    pool = FakePool()
    await spawn(pool)
    assert [line.message for line in await pool.service.worker_logs("worker-cpu-0", 2)][-1] == "line 4 of worker-cpu-0"
    with pytest.raises(NotFound):
        await pool.service.worker_logs("nobody")


async def test_a_sleeping_worker_holds_its_port() -> None:
    pool = FakePool()
    pool.units.workers[PLAN.id] = facts_of(PLAN, **ASLEEP)
    assert (await spawn(pool)).address == "127.0.0.1:8002"


async def test_a_driver_that_comes_after_the_pool_is_seen_by_spawn_status_and_queen_alike() -> None:
    spec = WorkerSpec(backend=Backend.CUDA, model="tiny", lazy=True)
    late = Build(name="cuda", carried=True, problem="there is no /dev/nvidiactl: the NVIDIA driver is not loaded")
    pool = FakePool(gpus=FakeGpus([Gpu(index=0, name="x", memory_total_bytes=8 * GIB)], builds=(late,)))
    service = pool.service
    with pytest.raises(BackendUnavailable, match="the NVIDIA driver is not loaded"):
        await anext(service.spawn_worker(spec))
    assert (await service.snapshot_for_queen()).backends == (Backend.CPU,)
    pool.gpus.builds = (dataclasses.replace(late, problem=""),)
    assert (await service.snapshot_for_queen()).backends == (Backend.CPU, Backend.CUDA)
    worker = (await anext(service.spawn_worker(spec))).worker
    assert worker is not None and worker.backend is Backend.CUDA
