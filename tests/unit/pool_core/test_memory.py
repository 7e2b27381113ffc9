import dataclasses

from rbee.pool_core import memory
from tests.fakes.pool import TINY

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
)


def test_cache_grows_with_context_and_slots() -> None:
    assert memory.cache_bytes(SMOLLM2, ctx=4096, slots=1) == 23_040 * 4096
    assert memory.cache_bytes(SMOLLM2, ctx=4096, slots=8) == 8 * 23_040 * 4096


def test_a_measured_worker_fits_its_limit_with_room_to_spare() -> None:
    """Seen with llama-cpp-python 0.3.36: 262 MiB resident at 4096 tokens, 358 MiB at 8192."""
    for ctx, resident in ((4096, 262 * MIB), (8192, 358 * MIB)):
        assert resident * 1.2 < memory.limit_bytes(SMOLLM2, ctx=ctx, slots=1) < resident * 4
        assert resident < memory.host_bytes(SMOLLM2, ctx=ctx, slots=1) < resident * 1.4


def test_a_model_that_does_not_tell_its_cache_gets_some() -> None:
    silent = dataclasses.replace(SMOLLM2, kv_bytes_per_token=0, size_bytes=16 << 30)
    assert memory.cache_bytes(silent, ctx=1024, slots=1) == 1 << 30


def test_weights_and_cache_count_on_a_gpu_too() -> None:
    assert memory.device_bytes(SMOLLM2, ctx=4096, slots=2) > SMOLLM2.size_bytes + 2 * 23_040 * 4096


def test_a_head_that_does_not_tell_its_shape_gets_as_much_as_any_model_needs() -> None:
    assert memory.compute_bytes(TINY, ctx=4096) == memory.COMPUTE_LIMIT_BYTES
    assert memory.compute_bytes(SMOLLM2, ctx=8192) > memory.compute_bytes(SMOLLM2, ctx=4096)
