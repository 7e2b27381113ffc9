"""What befalls a host: why its pool drains, which GPUs a sleep has cost, and whose workers those were."""

import dataclasses

from rbee.pool_core.condition import NOT_BACK, Condition, Drain, absent, bereft, drain_of, told, with_missing
from rbee.wire.draining import DrainReason
from rbee.wire.pools import Gpu, GpuInventory
from rbee.wire.workers import Backend, WorkerState, WorkerStatus
from tests.fakes.pool import FakeFlag

LOST = "it has fallen off the bus"


def gpu(index: int, uuid: str = "", *, problem: str = "", vendor: str = "nvidia") -> Gpu:
    return Gpu(index=index, name="RTX 3070", uuid=uuid or f"GPU-{index}", problem=problem, vendor=vendor)


def worker(
    number: int, *, state: WorkerState = WorkerState.READY, backend: Backend = Backend.CUDA, gpus: tuple[int, ...] = ()
) -> WorkerStatus:
    return WorkerStatus(
        id=f"worker-{number}", state=state, model="tiny", backend=backend, address="", gpu=number, gpus=gpus
    )


def test_what_befalls_the_host_comes_before_what_its_operator_wants() -> None:
    condition, flag = Condition(), FakeFlag()
    assert drain_of(condition, flag) is None
    flag.set(True, 9000)
    assert drain_of(condition, flag) == Drain(DrainReason.OPERATOR, 9000)
    condition.drain = Drain(DrainReason.SLEEP, 5000)
    assert drain_of(condition, flag) == Drain(DrainReason.SLEEP, 5000)
    condition.drain = None
    assert drain_of(condition, flag) == Drain(DrainReason.OPERATOR, 9000)


def test_those_are_absent_that_worked_before_and_do_not_answer_now() -> None:
    before = [gpu(0), gpu(1), gpu(2), gpu(3, problem=LOST)]
    now = GpuInventory(gpus=(gpu(0), gpu(1, problem=LOST), gpu(2, "GPU-3", problem=LOST)))
    assert [(each.uuid, each.problem) for each in absent(before, now)] == [("GPU-1", LOST), ("GPU-2", NOT_BACK)]
    assert absent(before, GpuInventory(gpus=tuple(before))) == []


def test_one_that_has_another_number_now_is_there() -> None:
    assert absent([gpu(1)], GpuInventory(gpus=(gpu(0, "GPU-1"),))) == []


def test_one_that_is_not_listed_any_more_is_shown_behind_the_others_until_it_is_back() -> None:
    gone = dataclasses.replace(gpu(0), problem=NOT_BACK)
    shown = with_missing(GpuInventory(gpus=(gpu(0, "GPU-1"),)), {gone.uuid: gone}).gpus
    assert [(each.index, each.uuid, each.problem) for each in shown] == [(0, "GPU-1", ""), (1, "GPU-0", NOT_BACK)]
    assert with_missing(GpuInventory(gpus=(gpu(0),)), {gone.uuid: gone}).gpus == (gpu(0),)
    assert [each.index for each in with_missing(GpuInventory(), {gone.uuid: gone}).gpus] == [0]


def test_workers_awake_on_a_missing_gpu_lose_it_and_nobody_else_does() -> None:
    missing = [dataclasses.replace(gpu(1), problem=LOST)]
    workers = [
        worker(0),
        worker(1),
        dataclasses.replace(worker(1, state=WorkerState.ASLEEP), id="asleep"),
        dataclasses.replace(worker(1, backend=Backend.CPU), id="cpu"),
        dataclasses.replace(worker(1, backend=Backend.ROCM), id="amd"),
        dataclasses.replace(worker(0, gpus=(0, 1)), id="split"),
    ]
    assert bereft(workers, missing) == {
        "worker-1": f"worker worker-1 lost its GPU: gpu 1 (RTX 3070): {LOST}",
        "split": f"worker split lost its GPU: gpu 1 (RTX 3070): {LOST}",
    }


def test_a_gpu_is_told_with_its_name() -> None:
    assert told(gpu(1, problem=LOST)) == f"gpu 1 (RTX 3070): {LOST}"
