"""What the owner of a host says of a model: where its workers go, and which of them go first."""

from dataclasses import replace

from rbee.orchestrator_core import explain
from rbee.orchestrator_core.scheduling import Evict, Spawn, Wait
from rbee.orchestrator_core.view import Use
from rbee.wire.pools import PoolSnapshot
from rbee.wire.workers import Backend, WorkerStatus
from tests.unit.orchestrator_core.snapshots import GIB, cuda, device, need, snapshot, view
from tests.unit.orchestrator_core.test_scheduling import ask, evicted, job, refused

IDLE = {("blep", "worker-cuda-0"): Use(0.0), ("blep", "worker-cuda-1"): Use(4.0)}


def full(*workers: WorkerStatus, takes: int = 4 * GIB) -> PoolSnapshot:
    """One GPU of 8 GiB that has nothing free, wanted for a model called big."""
    needs = (need("big", takes=takes),)
    return snapshot("blep", *workers, models=("tiny", "big"), devices=(device(0, free=0),), needs=needs)


def test_idle_workers_of_lower_priority_go_first() -> None:
    """Without it the first would: it was idle for longer."""
    low, usual = cuda(1, need=4 * GIB, priority=-5), cuda(0, need=4 * GIB)
    assert evicted(ask(job("big"), full(usual, replace(low, priority=0)), used=IDLE, now_s=5.0)) == ["worker-cuda-0"]
    assert evicted(ask(job("big"), full(usual, low), used=IDLE, now_s=5.0)) == ["worker-cuda-1"]
    high = replace(usual, priority=10)
    assert evicted(ask(job("big"), full(high, replace(low, priority=0)), used=IDLE, now_s=5.0)) == ["worker-cuda-1"]


def test_those_of_higher_priority_go_when_the_lower_ones_do_not_suffice() -> None:
    high, low = cuda(0, need=4 * GIB, priority=10), cuda(1, need=2 * GIB)
    assert evicted(ask(job("big"), full(high, low), used=IDLE, now_s=5.0)) == ["worker-cuda-0"]
    busy = ask(job("big"), full(high, replace(low, need_bytes=4 * GIB)), busy={"worker-cuda-1": 1}, now_s=5.0)
    assert evicted(busy) == ["worker-cuda-0"], "one that has work does not go, whatever its priority"


def test_the_gpu_is_cleared_whose_workers_are_of_lower_priority() -> None:
    devices = (device(0, free=0), device(1, free=0))
    cheap, low = cuda(0, gpu=0, need=4 * GIB, load_ms=100), cuda(1, gpu=1, need=4 * GIB, load_ms=90_000, priority=-1)
    pool = snapshot("blep", cheap, low, models=("tiny", "big"), devices=devices, needs=(need("big", takes=4 * GIB),))
    assert evicted(ask(job("big"), pool)) == ["worker-cuda-1"]


def test_it_is_said_why() -> None:
    decision = ask(job("big"), full(cuda(1, need=4 * GIB, priority=-5)), used=IDLE, now_s=5.0)
    assert isinstance(decision, Evict)
    assert "worker-cuda-1 has to go, which has priority -5, had no job for 1 s" in explain.evict_sentence(decision)
    assert sentence(5) == "may be evicted for another model, after those of lower priority than 5"
    assert sentence(-5) == "may be evicted for another model, before those of higher priority than -5"
    assert sentence(0) == "may be evicted for another model"


def sentence(priority: int) -> str:
    worker = cuda(0, priority=priority)
    return explain.worker_sentence(("blep", worker.id), worker, view(snapshot("blep", worker, devices=(device(0),))))


def test_a_model_goes_to_the_backend_that_its_pool_tells_a_need_for() -> None:
    devices = (device(None), device(0))
    both = (need(), need(backend=Backend.CPU))
    assert spawned(snapshot("blep", devices=devices, needs=both)) == (Backend.CUDA, 0)
    assert spawned(snapshot("blep", devices=devices, needs=both[1:])) == (Backend.CPU, None)
    unknown = snapshot("blep", devices=devices, needs=(need("other"),))
    assert spawned(unknown) == (Backend.CUDA, 0), "of one that it tells nothing of anything may be tried"
    full_gpu = snapshot("blep", devices=(device(None), device(0, free=0)), needs=both[:1])
    waits = ask(job(), full_gpu)
    assert isinstance(waits, Wait)
    assert waits.reason == "tiny needs 1.0 GiB of GPU memory, gpu 0 of blep has 0 B free", "the CPU has room for it"


def test_a_model_goes_to_the_gpu_that_its_pool_tells() -> None:
    devices = (device(0), device(1))
    assert spawned(snapshot("blep", devices=devices, needs=(replace(need(), gpu=1),))) == (Backend.CUDA, 1)
    there = snapshot("blep", cuda(0, gpu=0), devices=devices, needs=(replace(need(), gpu=1),))
    found = ask(job(), there, busy={"worker-cuda-0": 1}, waiting={"tiny": 50}, job_ms={"tiny": 60_000.0})
    assert isinstance(found, Spawn)
    assert found.place.gpu == 1


def test_who_asks_for_another_place_is_told_whose_word_it_is() -> None:
    mine = snapshot("blep", devices=(device(None), device(0), device(1)), needs=(replace(need(), gpu=1),))
    told = refused(ask(job(backend="cpu"), mine))
    assert told.message == "no pool that has tiny offers cpu for it: blep has it for cuda, gpu 1 alone"
    assert told.hint == "see [models.tiny] in rbee.toml of blep"
    assert "offers gpu 0 for it: blep has it for cuda, gpu 1 alone" in refused(ask(job(gpu=0), mine)).message
    lacking = snapshot("blep", devices=(device(None),), needs=(need(),))
    assert refused(ask(job(), lacking)).message == (
        "no pool that has tiny offers a device for it: blep has it for cuda alone, which is not there"
    )


def spawned(pool: PoolSnapshot) -> tuple[Backend, int | None]:
    decision = ask(job(), pool)
    assert isinstance(decision, Spawn), decision
    return decision.place.backend, decision.place.gpu
