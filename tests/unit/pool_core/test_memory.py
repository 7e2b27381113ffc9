import dataclasses

import pytest

from rbee.pool_core import memory
from rbee.wire.catalog import ModelFile
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

GEMMA3 = dataclasses.replace(
    TINY,
    id="gemma3",
    size_bytes=253_113_024,
    kv_bytes_per_token=18_432,
    heads=4,
    vocabulary=262_144,
    embedding_length=640,
    feed_forward_length=2048,
)
"""Sliding windows, embeddings that are the output layer as well, weights that are rearranged for the CPU."""


def test_cache_grows_with_context_and_slots() -> None:
    assert memory.cache_bytes(SMOLLM2, ctx=4096, slots=1) == 23_040 * 4096
    assert memory.cache_bytes(SMOLLM2, ctx=4096, slots=8) == 8 * 23_040 * 4096


@pytest.mark.parametrize(
    ("model", "ctx", "slots", "resident_mib"),
    [
        (SMOLLM2, 512, 8, 312), (SMOLLM2, 4096, 1, 264), (SMOLLM2, 4096, 4, 556), (SMOLLM2, 8192, 4, 917),
        (GEMMA3, 512, 8, 498), (GEMMA3, 4096, 1, 430), (GEMMA3, 8192, 4, 973),
    ],
)  # fmt: skip
def test_what_was_measured_on_a_cpu_is_predicted(model: ModelFile, ctx: int, slots: int, resident_mib: int) -> None:
    """Seen with llama-cpp-python 0.3.36, contexts filled up to 1024 tokens, and no HTTP server around it (20 MiB)."""
    resident = resident_mib * MIB
    assert resident + 20 * MIB < memory.host_bytes(model, ctx=ctx, slots=slots) < resident * 1.15
    assert resident * 1.2 < memory.limit_bytes(model, ctx=ctx, slots=slots) < resident * 4


def test_a_context_is_made_of_whole_cells() -> None:
    assert memory.cache_bytes(SMOLLM2, ctx=1000, slots=1) == memory.cache_bytes(SMOLLM2, ctx=1024, slots=1)


def test_the_table_of_embeddings_takes_nothing_of_a_gpu() -> None:
    untied = dataclasses.replace(SMOLLM2, embedding_bytes=MIB)
    whole = memory.device_bytes(SMOLLM2, ctx=512, slots=1)
    assert memory.device_bytes(untied, ctx=512, slots=1) == whole - MIB


def test_a_model_that_does_not_tell_its_cache_gets_some() -> None:
    silent = dataclasses.replace(SMOLLM2, kv_bytes_per_token=0, size_bytes=16 << 30)
    assert memory.cache_bytes(silent, ctx=1024, slots=1) == 1 << 30


def test_weights_and_cache_count_on_a_gpu_too() -> None:
    assert memory.device_bytes(SMOLLM2, ctx=4096, slots=2) > SMOLLM2.size_bytes + 2 * 23_040 * 4096


def test_a_head_that_does_not_tell_its_shape_gets_as_much_as_any_model_needs() -> None:
    assert memory.compute_bytes(TINY, ctx=4096) == memory.COMPUTE_LIMIT_BYTES
    assert memory.compute_bytes(SMOLLM2, ctx=8192) > memory.compute_bytes(SMOLLM2, ctx=4096)
