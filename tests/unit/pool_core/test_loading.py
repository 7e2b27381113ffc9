"""What a worker is asked to load is known and refused before: layers, cache, adapters, conversations."""

import dataclasses
from typing import Any

import pytest

from rbee.errors import InsufficientDisk, InsufficientMemory, InsufficientVram, InvalidRequest, ModelNotFound
from rbee.pool_core import inventory, ledger, memory, placement
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import PoolFacts, WorkerPlan
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.pools import Gpu, GpuInventory, HostResources
from rbee.wire.workers import Backend, Kv, SpawnEvent, WorkerSpec, WorkerState, WorkerStatus
from tests.fakes.pool import FACTS, GIB, TINY, FakeModels, FakePool, load

LARGE = dataclasses.replace(
    TINY, id="large", size_bytes=8 * GIB, kv_bytes_per_token=1 << 17, heads=32, key_length=128, value_length=128,
    layers=32, vocabulary=32_000, embedding_length=4096, feed_forward_length=11_008, context_tokens=32_768,
    embedding_bytes=GIB // 8, output_bytes=GIB // 8, architecture="llama",
)  # fmt: skip
PIRATE = dataclasses.replace(
    TINY, id="pirate", kind=ModelKind.ADAPTER, size_bytes=GIB, architecture="llama", paths=("/models/pirate.gguf",)
)
ENCODER = dataclasses.replace(TINY, id="enc", kind=ModelKind.EMBED, architecture="bert", kv_bytes_per_token=0)


def survey(*, gpu: int = 24 * GIB, host: int = 16 * GIB, workers: tuple[WorkerStatus, ...] = ()) -> Survey:
    return Survey(
        models=[LARGE, PIRATE],
        workers=workers,
        inventory=GpuInventory(gpus=(Gpu(index=0, name="x", memory_total_bytes=gpu, memory_free_bytes=gpu),)),
        host=HostResources(cpus=4, memory_total_bytes=host, memory_available_bytes=host, disk_free_bytes=1),
        resident={},
        known={},
        backends=[Backend.CPU, Backend.CUDA],
    )


def decide(
    model: ModelFile = LARGE,
    *adapters: ModelFile,
    facts: PoolFacts = FACTS,
    seen: Survey | None = None,
    backend: Backend = Backend.CUDA,
    **wanted: Any,
) -> WorkerPlan:
    spec = WorkerSpec(backend=backend, model=model.id, **wanted)
    return placement.decide(spec, model, adapters, facts=facts, survey=seen or survey())


def test_layers_that_stay_on_the_host_are_counted_there() -> None:
    small = survey(gpu=6 * GIB)
    with pytest.raises(InsufficientVram) as refused:
        decide(seen=small)
    assert "--gpu-layers" in refused.value.hint
    layers = int(refused.value.hint.partition("--gpu-layers ")[2].split()[0])
    plan = decide(seen=small, gpu_layers=layers)
    assert (plan.gpu_layers, plan.gpu, plan.backend) == (layers, 0, "cuda")
    with pytest.raises(InsufficientVram):
        decide(seen=small, gpu_layers=layers + 1)
    with pytest.raises(InsufficientMemory):
        decide(seen=survey(gpu=6 * GIB, host=2 * GIB), gpu_layers=layers)


def test_all_layers_is_all_layers_however_it_is_said() -> None:
    assert decide(gpu_layers=33).gpu_layers is None
    assert decide(gpu_layers=999).gpu_layers is None
    assert decide(gpu_layers=32).gpu_layers == 32


def test_layers_are_for_a_gpu_and_for_a_model_that_tells_how_many_it_has() -> None:
    with pytest.raises(InvalidRequest, match="gpu_layers is 4, but the backend is cpu"):
        decide(backend=Backend.CPU, gpu_layers=4)
    with pytest.raises(InvalidRequest, match="tiny does not say how many layers"):
        decide(TINY, gpu_layers=4)


def test_what_a_worker_left_on_the_host_nobody_else_gets() -> None:
    there = WorkerStatus(
        id="worker-cuda-0", state=WorkerState.STARTING, model="large", backend=Backend.CUDA, address="", ctx=4096,
        gpu_layers=8,
    )  # fmt: skip
    host, gpu = ledger.devices(survey(workers=(there,)))
    part = load(Backend.CUDA, ctx=4096, gpu_layers=8)
    assert host.reserved_bytes == memory.rest_bytes(LARGE, part)
    assert gpu.reserved_bytes == memory.device_bytes(LARGE, part)
    whole = ledger.devices(survey(workers=(dataclasses.replace(there, gpu_layers=None),)))
    itself = memory.rest_bytes(LARGE, load(Backend.CUDA, ctx=4096))
    assert (whole[0].reserved_bytes, whole[1].reserved_bytes > gpu.reserved_bytes) == (itself, True)
    assert 64 * memory.MIB < itself < host.reserved_bytes / 8


def test_weights_that_are_cached_anyway_are_not_taken_twice_and_the_rest_is() -> None:
    there = WorkerStatus(
        id="worker-cuda-0", state=WorkerState.STARTING, model="large", backend=Backend.CUDA, address="", ctx=4096,
        gpu_layers=8,
    )  # fmt: skip
    cold, warm = (
        dataclasses.replace(survey(workers=(there,)), models=[dataclasses.replace(LARGE, cached=cached)])
        for cached in (False, True)
    )
    stay = memory.weights_on_host(LARGE, load(Backend.CUDA, ctx=4096, gpu_layers=8))
    assert 0 < stay < LARGE.size_bytes
    assert ledger.devices(warm)[0].free_bytes - ledger.devices(cold)[0].free_bytes == stay


def test_a_layer_of_those_that_gpus_share_is_what_one_may_have_more_than_its_part() -> None:
    part, all_of_them = load(Backend.CUDA, gpu_layers=8), load(Backend.CUDA)
    assert memory.layers_on_device(LARGE, all_of_them) == LARGE.layers
    assert memory.layers_on_device(LARGE, part) == 7
    assert memory.layers_on_device(TINY, all_of_them) == 0


def test_the_cache_is_as_asked_for_else_as_the_pool_is_set_where_the_model_can() -> None:
    small = dataclasses.replace(FACTS, kv="q8_0")
    assert decide().kv == "f16"
    assert decide(facts=small).kv == "q8_0"
    assert decide(facts=small, kv=Kv.F16).kv == "f16"
    odd = dataclasses.replace(LARGE, key_length=80)
    assert decide(odd, facts=small).kv == "f16"
    with pytest.raises(InvalidRequest, match="its heads have 80 values"):
        decide(odd, kv=Kv.Q8_0)


def test_a_smaller_cache_is_proposed_where_it_would_fit() -> None:
    with pytest.raises(InsufficientVram) as refused:
        decide(ctx=32_768, slots=4, seen=survey(gpu=20 * GIB))
    first = refused.value.hint.split("; ")[0]
    assert first == "rbee-hive worker spawn cuda --model large --ctx 32768 --slots 4 --kv q8_0 would fit"
    assert decide(ctx=32_768, slots=4, kv=Kv.Q8_0, seen=survey(gpu=20 * GIB)).gpu == 0


def test_how_many_tokens_are_read_at_once_is_the_pools_to_say() -> None:
    assert (decide().batch, decide(TINY, backend=Backend.CPU).batch) == (512, 128)
    assert decide(ENCODER, backend=Backend.CPU, ctx=300).batch == 512


def test_adapters_are_counted_and_read() -> None:
    plan = decide(LARGE, PIRATE)
    assert (plan.model, plan.model_paths, plan.adapter_paths) == ("large+pirate", LARGE.paths, PIRATE.paths)
    need = memory.device_bytes(LARGE, load(Backend.CUDA, ctx=4096))
    tight = survey(gpu=need + GIB // 2)
    assert decide(seen=tight).gpu == 0
    with pytest.raises(InsufficientVram):
        decide(LARGE, PIRATE, seen=tight)


def test_one_with_an_adapter_is_another_kind_of_worker() -> None:
    mixed = dataclasses.replace(load(), adapters=(PIRATE,))
    keys = {ledger.key(LARGE, each) for each in (load(), mixed, load(kv=Kv.Q8_0), load(Backend.CUDA, gpu_layers=3))}
    assert len(keys) == 4
    there = WorkerStatus(
        id="w", state=WorkerState.READY, model="large+pirate", backend=Backend.CPU, address="", ctx=2048
    )
    assert ledger.load_of(there, survey()).adapters == (PIRATE,)
    assert not [need for need in ledger.needs(survey(), FACTS) if need.model == "pirate"]


@pytest.mark.parametrize(
    ("capability", "takes"), [("3.5", False), ("5.0", True), ("9.0", True), ("12.0", True), ("", True)]
)
def test_a_gpu_that_llama_knows_no_more_takes_nothing_and_says_why(capability: str, takes: bool) -> None:
    gpu = Gpu(index=0, name="x", memory_total_bytes=24 * GIB, compute_capability=capability)
    seen = inventory.heeding(GpuInventory(gpus=(gpu,)), 0)
    assert (seen.gpus[0].problem == "") is takes
    if not takes:
        assert seen.gpus[0].problem == "its compute capability is 3.5, llama.cpp wants at least 5.0"
        with pytest.raises(InsufficientVram, match=r"its compute capability is 3\.5"):
            decide(seen=dataclasses.replace(survey(), inventory=seen))


# Through the pool


def pool(**files: ModelFile) -> FakePool:
    return FakePool(models=FakeModels(files=files))


async def spawned(there: FakePool, **wanted: Any) -> SpawnEvent:
    *_, last = [e async for e in there.service.spawn_worker(WorkerSpec(backend=Backend.CPU, **wanted))]
    return last


BASE = dataclasses.replace(TINY, architecture="llama")
SMALL = dataclasses.replace(PIRATE, size_bytes=1000)


async def test_a_model_with_adapters_is_spawned_by_name_and_keeps_its_files_from_being_deleted() -> None:
    there = pool(tiny=BASE, pirate=SMALL)
    worker = (await spawned(there, model="tiny+pirate")).worker
    assert worker is not None and worker.model == "tiny+pirate"
    for used in ("tiny", "pirate"):
        with pytest.raises(Exception, match=f"model {used} is used by worker-cpu-0"):
            await there.service.delete_model(used)
    assert there.units.workers["worker-cpu-0"].argv[-2:] == ("--lora=/models/pirate.gguf", "/models/tiny.gguf")


async def test_an_adapter_that_is_not_here_is_named() -> None:
    with pytest.raises(ModelNotFound, match="adapter polite for tiny is not on this host"):
        await spawned(pool(tiny=BASE, pirate=SMALL), model="tiny+pirate+polite")
    with pytest.raises(InvalidRequest, match="pirate is an adapter of llama models, and no model"):
        await spawned(pool(tiny=BASE, pirate=SMALL), model="pirate")


async def test_conversations_are_kept_where_that_is_wanted_and_there_is_room() -> None:
    there = pool(tiny=BASE, enc=ENCODER)
    there.facts = dataclasses.replace(FACTS, keep=True)
    kept = (await spawned(there, model="tiny")).worker
    not_kept = (await spawned(there, model="tiny", keep=False)).worker
    encoder = (await spawned(there, model="enc")).worker
    assert [each.keep for each in (kept, not_kept, encoder) if each] == [True, False, False]
    with pytest.raises(InvalidRequest, match="enc has no conversations"):
        await spawned(there, model="enc", keep=True)
    there.host.room_bytes = 1000
    with pytest.raises(InsufficientDisk, match="needs 1.0 MiB of disk, 1000 B are free") as refused:
        await spawned(there, model="tiny", keep=True)
    assert refused.value.details == {"needed_bytes": 1 << 20, "free_bytes": 1000}


async def test_a_default_to_keep_that_does_not_fit_is_left_out_and_said() -> None:
    there = pool(tiny=BASE)
    there.facts = dataclasses.replace(FACTS, keep=True)
    there.host.room_bytes = 1000
    worker = (await spawned(there, model="tiny")).worker
    assert worker is not None and not worker.keep
    ((what, said),) = there.warnings
    assert (what, said["model"]) == ("worker.keeps_nothing", "tiny")
    assert "needs 1.0 MiB of disk, 1000 B are free" in str(said["reason"])


@pytest.mark.parametrize(("keep", "wait_s"), [(False, 15), (True, 15 + 153.6)])
async def test_an_eviction_waits_for_what_is_written_before_the_sleep(keep: bool, wait_s: float) -> None:
    there = pool(tiny=dataclasses.replace(BASE, kv_bytes_per_token=10_000_000))
    there.host.available_bytes = 100 << 30
    worker = (await spawned(there, model="tiny", ctx=1536, keep=keep)).worker
    assert worker is not None
    await there.service.evict_worker(worker.id)
    assert there.units.waited_s == [pytest.approx(wait_s)]
