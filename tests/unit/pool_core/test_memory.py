import dataclasses

import pytest

from rbee.pool_core import memory
from rbee.pool_core.load import batch_tokens
from rbee.wire.catalog import ModelKind
from rbee.wire.workers import Backend, Kv
from tests.fakes.pool import TINY, load

MIB = memory.MIB
SMOLLM2 = dataclasses.replace(
    TINY,
    id="smollm2",
    size_bytes=98_362_432,
    kv_bytes_per_token=23_040,
    heads=9,
    vocabulary=49_152,
    embedding_length=576,
    feed_forward_length=1536,
    layers=30,
    key_length=64,
    value_length=64,
    output_bytes=18 * MIB,
)


def test_cache_grows_with_context_and_slots() -> None:
    assert memory.cache_bytes(SMOLLM2, load(ctx=4096, slots=1)) == 23_040 * 4096
    assert memory.cache_bytes(SMOLLM2, load(ctx=4096, slots=8)) == 8 * 23_040 * 4096


def test_a_cache_of_q8_0_takes_34_bytes_for_64() -> None:
    whole = memory.cache_bytes(SMOLLM2, load(ctx=4096))
    assert memory.cache_bytes(SMOLLM2, load(ctx=4096, kv=Kv.Q8_0)) == whole * 34 // 64


@pytest.mark.parametrize(
    ("ctx", "slots", "kv", "resident_mib"),
    [
        (512, 8, Kv.F16, 250), (4096, 1, Kv.F16, 248), (4096, 4, Kv.F16, 521), (8192, 4, Kv.F16, 881),
        (4096, 16, Kv.F16, 1607), (4096, 4, Kv.Q8_0, 352),
    ],
)  # fmt: skip
def test_what_was_measured_on_a_cpu_is_predicted(ctx: int, slots: int, kv: Kv, resident_mib: int) -> None:
    """Seen with llama-cpp-python 0.3.36, one context filled up to 1024 tokens a slot, and no HTTP server around it
    (20 MiB)."""
    resident, how = resident_mib * MIB, load(ctx=ctx, slots=slots, kv=kv)
    assert resident + 20 * MIB < memory.host_bytes(SMOLLM2, how) < resident * 1.3
    assert resident * 1.2 < memory.limit_bytes(SMOLLM2, how) < resident * 5


def test_a_context_is_made_of_whole_cells() -> None:
    assert memory.cache_bytes(SMOLLM2, load(ctx=1000, slots=1)) == memory.cache_bytes(SMOLLM2, load(ctx=1024, slots=1))


def test_the_table_of_embeddings_takes_nothing_of_a_gpu() -> None:
    untied = dataclasses.replace(SMOLLM2, embedding_bytes=MIB)
    whole = memory.device_bytes(SMOLLM2, load(Backend.CUDA, ctx=512, slots=1))
    assert memory.device_bytes(untied, load(Backend.CUDA, ctx=512, slots=1)) == whole - MIB


def test_a_model_that_does_not_tell_its_cache_gets_some() -> None:
    silent = dataclasses.replace(SMOLLM2, kv_bytes_per_token=0, size_bytes=16 << 30)
    assert memory.cache_bytes(silent, load(ctx=1024, slots=1)) == 1 << 30


def test_weights_and_cache_count_on_a_gpu_too() -> None:
    assert memory.device_bytes(SMOLLM2, load(Backend.CUDA, ctx=4096, slots=2)) > SMOLLM2.size_bytes + 2 * 23_040 * 4096


def test_a_head_that_does_not_tell_its_shape_gets_as_much_as_any_model_needs() -> None:
    assert memory.compute_bytes(TINY, load(ctx=4096)) == memory.COMPUTE_LIMIT_BYTES
    assert memory.compute_bytes(SMOLLM2, load(ctx=8192)) > memory.compute_bytes(SMOLLM2, load(ctx=4096))


LLAMA3 = dataclasses.replace(
    TINY, id="llama3", size_bytes=4_920_000_000, kv_bytes_per_token=131_072, heads=32, key_length=128, value_length=128,
    layers=32, vocabulary=128_256, embedding_length=4096, feed_forward_length=14_336, embedding_bytes=300 * MIB,
    output_bytes=411 * MIB,
)  # fmt: skip


def test_layers_that_stay_on_the_host_take_nothing_of_the_gpu_and_all_is_somewhere() -> None:
    whole = load(Backend.CUDA, ctx=8192)
    before = memory.device_bytes(LLAMA3, whole)
    for layers in (32, 17, 8, 1):
        part = load(Backend.CUDA, ctx=8192, gpu_layers=layers)
        assert memory.device_bytes(LLAMA3, part) < before
        before = memory.device_bytes(LLAMA3, part)
        both = memory.weights_on_device(LLAMA3, part) + memory.rest_bytes(LLAMA3, part)
        assert both > LLAMA3.size_bytes
    assert memory.weights_on_device(LLAMA3, load(Backend.CUDA, gpu_layers=1)) == LLAMA3.output_bytes
    assert memory.device_bytes(LLAMA3, load(Backend.CUDA, ctx=8192, gpu_layers=33)) == memory.device_bytes(
        LLAMA3, whole
    )


def test_all_layers_but_one_leave_one_on_the_host() -> None:
    part = load(Backend.CUDA, ctx=8192, gpu_layers=32)
    left = LLAMA3.size_bytes - memory.weights_on_device(LLAMA3, part) - LLAMA3.embedding_bytes
    assert left == pytest.approx((LLAMA3.size_bytes - 711 * MIB) / 32, rel=0.01)


def test_where_flash_attention_is_to_be_had_there_are_no_scores() -> None:
    odd, at = dataclasses.replace(LLAMA3, key_length=100), load(Backend.CUDA, ctx=8192)
    assert memory.compute_bytes(odd, at) > 2 * memory.compute_bytes(LLAMA3, at)
    assert memory.compute_bytes(odd, load(Backend.CPU)) == memory.compute_bytes(LLAMA3, load(Backend.CPU))


def test_adapters_count_whole() -> None:
    over = dataclasses.replace(TINY, id="pirate", kind=ModelKind.ADAPTER, size_bytes=50 * MIB)
    for predict, backend in ((memory.host_bytes, Backend.CPU), (memory.device_bytes, Backend.CUDA)):
        alone, mixed = load(backend), load(backend, adapters=(over,))
        assert predict(LLAMA3, mixed) - predict(LLAMA3, alone) == 50 * MIB


def test_an_encoder_keeps_no_cache_and_reads_a_text_at_once() -> None:
    encoder = dataclasses.replace(TINY, architecture="bert", kind=ModelKind.EMBED, kv_bytes_per_token=0)
    assert memory.cache_bytes(encoder, load(ctx=512, slots=4)) == 0
    assert batch_tokens(encoder, load(ctx=500)) == 512
    assert (batch_tokens(TINY, load()), batch_tokens(TINY, load(Backend.CUDA))) == (128, 512)
