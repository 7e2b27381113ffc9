"""Hints that can be run, and would work."""

import dataclasses
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.cli.usage import parse
from rbee.cli.workers import spec_of
from rbee.errors import InsufficientMemory, InsufficientVram, RbeeError
from rbee.hive.main import USAGE
from rbee.pool_core import advice, memory, placement
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import PoolFacts
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.pools import Gpu, GpuInventory, HostResources
from rbee.wire.workers import Backend, Kv, WorkerSpec
from tests.fakes.pool import FACTS, GIB, TINY, load

MODEL = dataclasses.replace(
    TINY, id="small", size_bytes=2 * GIB, kv_bytes_per_token=1 << 18, context_tokens=32_768, heads=8,
    vocabulary=32_000, embedding_length=1024, feed_forward_length=4096,
)  # fmt: skip
LARGE = dataclasses.replace(
    TINY, id="large", size_bytes=8 * GIB, kv_bytes_per_token=1 << 17, heads=32, key_length=128, value_length=128,
    layers=32, vocabulary=32_000, embedding_length=4096, feed_forward_length=11_008, context_tokens=32_768,
    embedding_bytes=GIB // 8, output_bytes=GIB // 8, architecture="llama",
)  # fmt: skip
PIRATE = dataclasses.replace(TINY, id="pirate", kind=ModelKind.ADAPTER, size_bytes=GIB, architecture="llama")


def host_of(host: int, *gpus: int) -> Survey:
    return Survey(
        models=[MODEL, LARGE, PIRATE],
        workers=[],
        inventory=GpuInventory(
            gpus=tuple(Gpu(index=n, name="x", memory_total_bytes=total) for n, total in enumerate(gpus))
        ),
        host=HostResources(cpus=2, memory_total_bytes=host, memory_available_bytes=host, disk_free_bytes=0),
        resident={},
        known={},
        backends=[Backend.CPU, Backend.CUDA],
    )


def refused_on(
    survey: Survey, spec: WorkerSpec, model: ModelFile, adapters: Sequence[ModelFile] = (), facts: PoolFacts = FACTS
) -> InsufficientMemory | InsufficientVram:
    with pytest.raises((InsufficientMemory, InsufficientVram)) as refused:
        placement.decide(spec, model, adapters, facts=facts, survey=survey)
    return refused.value


def refusal(spec: WorkerSpec, *, host: int, gpu: int = 0) -> InsufficientMemory | InsufficientVram:
    return refused_on(host_of(host, gpu), spec, MODEL)


def asked_by(hint: str) -> list[WorkerSpec]:
    """Return what the commands in a hint ask for, as rbee-hive reads them."""
    commands = re.findall(r"rbee-hive (worker spawn .*?) would ", hint)
    return [spec_of(parse("rbee-hive", USAGE, words.split())) for words in commands]


def large(**wanted: object) -> WorkerSpec:
    return WorkerSpec(backend=Backend.CUDA, model="large", **wanted)  # type: ignore[arg-type]


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


@given(
    spec=st.builds(
        WorkerSpec,
        backend=st.sampled_from([Backend.CPU, Backend.CUDA]),
        model=st.sampled_from(["large", "large+pirate"]),
        id=st.sampled_from([None, "mine"]),
        gpu=st.sampled_from([None, 0, 1]),
        ctx=st.sampled_from([None, 64, 1000, 4096, 32_768]),
        slots=st.sampled_from([None, 1, 4, 64]),
        kv=st.sampled_from([None, *Kv]),
        gpu_layers=st.sampled_from([None, 1, 16, 32, 33]),
        memory_bytes=st.sampled_from([None, GIB, 20 * GIB]),
        cpu_percent=st.sampled_from([None, 150]),
        idle_s=st.sampled_from([None, 60]),
        lazy=st.booleans(),
        pinned=st.booleans(),
        spare=st.booleans(),
        keep=st.sampled_from([None, True, False]),
    ),
    survey=st.builds(
        lambda host, gpus: host_of(host * GIB // 4, *(gpu * GIB // 4 for gpu in gpus)),
        st.integers(1, 160),
        st.lists(st.integers(1, 96), min_size=1, max_size=3),
    ),
    facts=st.builds(
        lambda ctx, slots, kv: dataclasses.replace(FACTS, ctx=ctx, slots=slots, kv=kv),
        st.sampled_from([1024, 32_768]),
        st.sampled_from([1, 4]),
        st.sampled_from(["f16", "q8_0"]),
    ),
)
def test_every_command_in_a_hint_is_granted_where_it_was_said(
    spec: WorkerSpec, survey: Survey, facts: PoolFacts
) -> None:
    adapters = [PIRATE] if "+" in spec.model else []
    try:
        placement.decide(spec, LARGE, adapters, facts=facts, survey=survey)
    except RbeeError as error:
        for other in asked_by(error.hint):
            assert placement.decide(other, LARGE, adapters, facts=facts, survey=survey)
            assert (other.model, other.id, other.idle_s, other.keep) == (spec.model, spec.id, spec.idle_s, spec.keep)
            assert (other.lazy, other.pinned, other.spare) == (spec.lazy, spec.pinned, spec.spare)


def test_a_command_says_all_that_was_asked_for() -> None:
    spec = WorkerSpec(
        backend=Backend.CUDA, model="large+pirate", id="mine", gpu=1, ctx=2048, slots=2, kv=Kv.Q8_0, gpu_layers=9,
        memory_bytes=3 * GIB + 1, cpu_percent=150, idle_s=60, lazy=True, pinned=True, spare=True, keep=False,
    )  # fmt: skip
    assert asked_by(f"{advice.command(spec)} would fit") == [spec]
    kept = WorkerSpec(backend=Backend.CPU, model="large", keep=True)
    assert asked_by(f"{advice.command(kept)} would fit") == [kept]


def test_layers_and_cache_that_were_asked_for_stay_so() -> None:
    hint = refused_on(host_of(64 * GIB, 6 * GIB), large(gpu_layers=16, ctx=32_768, slots=4), LARGE).hint
    assert "--slots 1 --kv q8_0 --gpu-layers 16 would fit" in hint
    on_cpu = WorkerSpec(backend=Backend.CPU, model="large", kv=Kv.Q8_0, ctx=32_768, slots=4)
    assert all(other.kv is Kv.Q8_0 for other in asked_by(refused_on(host_of(12 * GIB), on_cpu, LARGE).hint))


def test_layers_and_the_cpu_are_named_with_what_they_were_computed_with() -> None:
    pool = dataclasses.replace(FACTS, ctx=32_768, slots=4)
    spec = large(ctx=1024, slots=1, kv=Kv.F16)
    others = asked_by(refused_on(host_of(16 * GIB, 8 * GIB), spec, LARGE, facts=pool).hint)
    assert [(other.backend, other.ctx, other.slots) for other in others if other.ctx == spec.ctx] == [
        (Backend.CUDA, 1024, 1),
        (Backend.CPU, 1024, 1),
    ]


def test_where_the_hosts_memory_lacks_more_layers_on_the_gpu_are_a_way_out() -> None:
    refused = refused_on(host_of(4 * GIB, 24 * GIB), large(gpu_layers=2), LARGE)
    assert refused.code == "insufficient_memory"
    assert [other.gpu_layers for other in asked_by(refused.hint)] == [32]


def test_another_gpu_and_another_limit_are_ways_out() -> None:
    on_other = refused_on(host_of(4 * GIB, 2 * GIB, 24 * GIB), large(gpu=0), LARGE)
    assert on_other.hint.startswith("rbee-hive worker spawn cuda --model large would fit; ")
    unlimited = WorkerSpec(backend=Backend.CPU, model="large", memory_bytes=20 * GIB)
    assert refused_on(host_of(16 * GIB), unlimited, LARGE).hint.startswith(
        "rbee-hive worker spawn cpu --model large would fit; "
    )
