"""Hints that can be run, and would work."""

import dataclasses

from rbee.errors import InsufficientMemory, InsufficientVram
from rbee.pool_core import advice, memory, placement
from rbee.pool_core.ledger import Survey
from rbee.wire.pools import Gpu, GpuInventory, HostResources
from rbee.wire.workers import Backend, WorkerSpec
from tests.fakes.pool import FACTS, GIB, TINY, load

MODEL = dataclasses.replace(
    TINY, id="small", size_bytes=2 * GIB, kv_bytes_per_token=1 << 18, context_tokens=32_768, heads=8,
    vocabulary=32_000, embedding_length=1024, feed_forward_length=4096,
)  # fmt: skip
CUDA = dataclasses.replace(FACTS, backends=("cpu", "cuda"))


def refusal(spec: WorkerSpec, *, host: int, gpu: int = 0) -> InsufficientMemory | InsufficientVram:
    survey = Survey(
        models=[MODEL],
        workers=[],
        inventory=GpuInventory(gpus=(Gpu(index=0, name="x", memory_total_bytes=gpu),)),
        host=HostResources(cpus=2, memory_total_bytes=host, memory_available_bytes=host, disk_free_bytes=0),
        resident={},
        known={},
        backends=[Backend.CPU, Backend.CUDA],
    )
    try:
        placement.decide(spec, MODEL, facts=CUDA, survey=survey)
    except (InsufficientMemory, InsufficientVram) as error:
        return error
    raise AssertionError("it was not refused")


def test_the_most_that_fits_is_named_and_does_fit() -> None:
    refused = refusal(WorkerSpec(backend=Backend.CPU, model="small", ctx=16_384, slots=4), host=5 * GIB)
    assert refused.hint.startswith("rbee-hive worker spawn cpu --model small --ctx 8192 --slots 1 would fit; ")
    assert (
        memory.host_bytes(MODEL, load(ctx=8192, slots=1))
        <= 5 * GIB
        < memory.host_bytes(MODEL, load(ctx=16_384, slots=1))
    )


def test_where_nothing_fits_there_is_somebody_to_look_at() -> None:
    refused = refusal(WorkerSpec(backend=Backend.CPU, model="small"), host=GIB)
    assert refused.hint.startswith("rbee-hive worker list shows who has the memory; or take a smaller")


def test_the_cpu_is_named_where_it_would_do_and_never_taken_by_itself() -> None:
    refused = refusal(WorkerSpec(backend=Backend.CUDA, model="small"), host=16 * GIB, gpu=GIB)
    assert refused.code == "insufficient_vram"
    assert "rbee-hive worker spawn cpu --model small would fit, and be slow" in refused.hint
    assert "spawn cpu" not in refusal(WorkerSpec(backend=Backend.CUDA, model="small"), host=GIB, gpu=GIB).hint


def test_less_context_on_the_gpu_comes_before_the_cpu() -> None:
    hint = refusal(WorkerSpec(backend=Backend.CUDA, model="small", ctx=32_768), host=64 * GIB, gpu=4 * GIB).hint
    first, second, _ = hint.split("; ", 2)
    assert first == "rbee-hive worker spawn cuda --model small --ctx 4096 --slots 1 would fit"
    assert second.endswith("would fit, and be slow")
    assert advice.LEAST_CTX <= 4096
