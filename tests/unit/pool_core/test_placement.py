import dataclasses
from typing import Any

import pytest

from rbee.errors import BackendUnavailable, GpuTooHot, InsufficientMemory, InsufficientVram, InvalidRequest, NoCapacity
from rbee.pool_core import inventory, memory, placement
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import WorkerPlan
from rbee.wire.pools import Gpu, GpuInventory, HostResources
from rbee.wire.workers import Backend, WorkerSpec
from tests.fakes.pool import FACTS, GIB, PLAN, TINY, load

HOST = HostResources(
    cpus=4, memory_total_bytes=16 * GIB, memory_available_bytes=8 * GIB, disk_free_bytes=1
)  # fmt: skip


def gpus(*free: int) -> GpuInventory:
    """GPUs of 24 GiB each, with so many GiB free."""
    used = [24 * GIB - each * GIB for each in free]
    return GpuInventory(
        gpus=tuple(
            Gpu(
                index=n,
                name="x",
                memory_total_bytes=24 * GIB,
                memory_used_bytes=each,
                memory_free_bytes=24 * GIB - each,
            )
            for n, each in enumerate(used)
        )
    )


GPUS = gpus(2, 24, 6)
LARGE = dataclasses.replace(TINY, id="large", size_bytes=3 * GIB)


def decide(spec: WorkerSpec, **world: Any) -> WorkerPlan:
    facts, model = world.get("facts", FACTS), world.get("model", TINY)
    survey = Survey(
        models=[model],
        workers=world.get("workers", ()),
        inventory=world.get("gpus", GpuInventory(reason="no driver")),
        host=HOST,
        resident={},
        known={},
        backends=[Backend.CPU, Backend.CUDA] if "gpus" in world else [Backend.CPU],
    )
    return placement.decide(spec, model, facts=facts, survey=survey)


def cpu(**wanted: object) -> WorkerSpec:
    return WorkerSpec(backend=Backend.CPU, model="tiny", **wanted)  # type: ignore[arg-type]


def test_what_is_not_asked_for_comes_from_settings_model_and_host() -> None:
    plan = decide(cpu())
    assert (plan.ctx, plan.slots, plan.idle_s, plan.threads) == (2048, 1, 300, 4)
    assert plan.memory_bytes == memory.limit_bytes(TINY, load(ctx=2048, slots=1))
    assert (plan.model, plan.model_paths, plan.gpu) == ("tiny", TINY.paths, None)


def test_what_is_asked_for_is_had() -> None:
    plan = decide(cpu(ctx=128, slots=3, idle_s=9, memory_bytes=GIB, cpu_percent=50))
    assert (plan.ctx, plan.slots, plan.idle_s, plan.memory_bytes, plan.cpu_percent) == (128, 3, 9, GIB, 50)


def test_more_context_than_the_model_has_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="trained on 2048"):
        decide(cpu(ctx=4096))


def test_a_backend_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(BackendUnavailable, match="no driver") as refused:
        decide(WorkerSpec(backend=Backend.CUDA, model="tiny"))
    assert refused.value.details["available"] == ["cpu"]


def test_too_little_memory_is_told_in_bytes() -> None:
    with pytest.raises(InsufficientMemory) as refused:
        decide(cpu(memory_bytes=9 * GIB))
    assert refused.value.details == {"needed_bytes": 9 * GIB, "free_bytes": 8 * GIB}


def test_the_fullest_gpu_that_fits_is_taken() -> None:
    spec = WorkerSpec(backend=Backend.CUDA, model="large")
    assert decide(spec, model=LARGE, gpus=GPUS).gpu == 2
    assert decide(spec, gpus=GPUS).gpu == 0


def test_the_gpu_asked_for_is_taken_or_refused_but_not_another() -> None:
    assert decide(WorkerSpec(backend=Backend.CUDA, model="l", gpu=1), model=LARGE, gpus=GPUS).gpu == 1
    with pytest.raises(InsufficientVram) as refused:
        decide(WorkerSpec(backend=Backend.CUDA, model="l", gpu=0), model=LARGE, gpus=GPUS)
    assert refused.value.details["free_bytes"] == 2 * GIB
    assert refused.value.details["needed_bytes"] > 3 * GIB
    with pytest.raises(InvalidRequest, match="expected one of: 0, 1, 2"):
        decide(WorkerSpec(backend=Backend.CUDA, model="l", gpu=7), model=LARGE, gpus=GPUS)


def test_a_model_too_large_for_each_gpu_is_split_over_as_few_as_have_room_together() -> None:
    spec = WorkerSpec(backend=Backend.CUDA, model="l")
    huge = dataclasses.replace(TINY, id="huge", size_bytes=26 * GIB)
    plan = decide(spec, model=huge, gpus=gpus(2, 20, 6, 12))
    assert (plan.gpu, plan.gpus, plan.split) == (1, (1, 3), (63, 37))
    assert decide(spec, model=LARGE, gpus=GPUS).split == ()
    coarse = dataclasses.replace(huge, layers=4)  # a layer of 6.7 GiB: 20 and 12 are 13.3 and 5.3 in whole layers
    with pytest.raises(InsufficientVram, match="free, all 2 together 32.0 GiB, 26.9 GiB are needed"):
        decide(spec, model=coarse, gpus=gpus(20, 12))
    with pytest.raises(InsufficientVram, match="gpu 1 has 20.0 GiB free"):
        decide(WorkerSpec(backend=Backend.CUDA, model="l", gpu=1), model=huge, gpus=gpus(2, 20, 6, 12))


def test_a_driver_that_answers_no_more_is_said_and_not_that_a_gpu_is_none() -> None:
    gone = GpuInventory(reason="the NVIDIA driver and its library are of different versions: reboot")
    with pytest.raises(BackendUnavailable, match="no GPU for backend cuda answers on this host: the NVIDIA driver and"):
        decide(WorkerSpec(backend=Backend.CUDA, model="l"), gpus=gone)


def test_a_hot_gpu_gets_no_worker_until_it_has_cooled_down() -> None:
    spec, facts = WorkerSpec(backend=Backend.CUDA, model="l"), dataclasses.replace(FACTS, gpu_limit_c=80)
    warm = gpus(2, 24, 6)
    hot = dataclasses.replace(warm, gpus=tuple(
        dataclasses.replace(gpu, temperature_c=heat) for gpu, heat in zip(warm.gpus, (79, 85, 80), strict=True)
    ))  # fmt: skip
    assert decide(spec, model=LARGE, gpus=inventory.heeding(hot, 0)).gpu == 2
    assert decide(spec, model=LARGE, facts=facts, gpus=inventory.heeding(hot, 80)).gpu == 2
    with pytest.raises(GpuTooHot, match=r"gpu 1: it is 85 °C hot, no worker is started above 80") as refused:
        decide(dataclasses.replace(spec, gpu=1), model=LARGE, facts=facts, gpus=inventory.heeding(hot, 80))
    assert (refused.value.code, refused.value.exit_code, refused.value.retriable) == ("gpu_too_hot", 75, True)
    huge = dataclasses.replace(LARGE, size_bytes=9 * GIB)
    with pytest.raises(InsufficientVram, match=r"gpu 2 has 6.0 GiB free.*; gpu 1: it is 85 °C hot"):
        decide(spec, model=huge, facts=facts, gpus=inventory.heeding(hot, 80))


def test_what_strangers_use_is_said_with_what_ours_do() -> None:
    with pytest.raises(InsufficientVram, match=r"others use 22.0 GiB, workers 0 B") as refused:
        decide(WorkerSpec(backend=Backend.CUDA, model="l"), model=LARGE, gpus=gpus(2))
    assert refused.value.details["foreign_bytes"] == 22 * GIB


def test_a_gpu_for_the_cpu_is_a_mistake() -> None:
    with pytest.raises(InvalidRequest, match="backend is cpu"):
        decide(cpu(gpu=0))


def test_ids_and_ports_that_are_known_to_be_taken_are_not_tried() -> None:
    tries = placement.Candidates(
        dataclasses.replace(PLAN, id=""), FACTS, ids={"worker-cpu-0"}, ports={8001, 8002}
    )  # fmt: skip
    assert (tries.current.id, tries.current.address) == ("worker-cpu-1", "127.0.0.1:8003")
    tries.port_was_taken()
    assert tries.id_was_taken()
    assert (tries.current.id, tries.current.address) == ("worker-cpu-2", "127.0.0.1:8004")


def test_an_id_that_was_asked_for_is_not_changed() -> None:
    tries = placement.Candidates(dataclasses.replace(PLAN, id="mine"), FACTS, ids=set(), ports=set())
    assert not tries.id_was_taken()
    assert tries.current.id == "mine"


def test_no_port_left_is_no_capacity() -> None:
    tries = placement.Candidates(PLAN, FACTS, ids=set(), ports={8001, 8002, 8003, 8004})
    with pytest.raises(NoCapacity, match="8001-8005"):
        tries.port_was_taken()


def test_ipv6_addresses_have_brackets() -> None:
    assert placement.address("::1", 8001) == "[::1]:8001"
    assert placement.port_of("[::1]:8001") == 8001
