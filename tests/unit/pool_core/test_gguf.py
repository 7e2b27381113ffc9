"""The tiny model and every way to spoil it: always a header or one clean InvalidRequest."""

import functools
import io
import struct
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import InvalidRequest
from rbee.pool_core.gguf import Header, check_split, read_header
from tests.assets import tiny_gguf


def read(data: bytes, size_bytes: int | None = None) -> Header:
    return read_header(io.BytesIO(data), len(data) if size_bytes is None else size_bytes)


@functools.cache
def tiny() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return tiny_gguf(Path(folder) / "tiny.gguf").read_bytes()


@functools.cache
def head_length() -> int:
    return read(tiny()).data_offset


def written(architecture: str = "llama", tensors: int = 1, rows: int = 32, **keys: Any) -> bytes:
    """Return a GGUF file with these keys; ``__`` in a name is a dot."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.gguf"
        writer = gguf.GGUFWriter(str(path), architecture)
        for key, value in keys.items():
            _add(writer, key.replace("__", "."), value)
        for number in range(tensors):
            writer.add_tensor(f"t{number}", np.zeros((2, rows), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)


def test_it_reads_the_tiny_model() -> None:
    header = read(tiny())
    assert (header.version, header.architecture, header.name) == (3, "llama", "rbee-tiny")
    assert (header.layers, header.context_tokens, header.embedding_length) == (2, 512, 64)
    assert (header.heads, header.kv_heads, header.key_length, header.value_length) == (4, (4, 4), 16, 16)
    assert header.kv_bytes_per_token == 2 * 4 * (16 + 16) * 2
    assert header.quantization == "F32"
    assert header.chat_template
    assert (header.split_count, header.split_no) == (1, 0)
    assert header.size_bytes <= len(tiny())
    assert header.parameters * 4 <= len(tiny())


def test_it_agrees_with_the_gguf_package(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    theirs = gguf.GGUFReader(path)
    header = read(tiny())
    assert header.parameters == sum(int(tensor.n_elements) for tensor in theirs.tensors)
    assert header.data_offset == theirs.data_offset
    assert [tensor.name for tensor in header.tensors] == [tensor.name for tensor in theirs.tensors]


def test_heads_may_differ_by_layer() -> None:
    header = read(
        written(
            "openelm",
            openelm__block_count=4,
            openelm__embedding_length=1280,
            openelm__attention__head_count=[12, 16, 20, 20],
            openelm__attention__head_count_kv=[3, 4, 0, 5],
            openelm__attention__key_length=64,
        )
    )
    assert header.kv_heads == (3, 4, 0, 5)
    assert header.kv_bytes_per_token == 12 * (64 + 64) * 2


def test_keys_may_be_longer_than_values() -> None:
    keys = {
        "deepseek2__block_count": 2,
        "deepseek2__attention__head_count": 1,
        "deepseek2__attention__key_length": 576,
        "deepseek2__attention__value_length": 512,
    }
    assert read(written("deepseek2", **keys)).kv_bytes_per_token == 2 * (576 + 512) * 2


def test_a_model_without_attention_keeps_no_cache() -> None:
    assert read(written("mamba", mamba__block_count=24, mamba__embedding_length=768)).kv_bytes_per_token == 0


def test_the_quantization_is_named_by_the_file_type_else_by_most_weights() -> None:
    assert read(written(general__file_type=15)).quantization == "Q4_K_M"
    assert read(written(general__file_type=999)).quantization == "F32"
    assert read(written()).quantization == "F32"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"GG", "not a GGUF file"),
        (b"GGUF", "truncated: the version"),
        (b"<!DOCTYPE html><html>", "not a GGUF file: it begins with b'<!DO'"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(16), "version 1, expected 2 or 3"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "it says it has 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "it says it has 1099511627776 keys"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "truncated: the name of key 1 of 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "general.architecture is missing"),
    ],
)
def test_what_is_no_model_is_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(data)
    assert says in refused.value.message
    assert refused.value.details["offset"] <= len(data)


def key(name: bytes, kind: int, value: bytes) -> bytes:
    """Return a head with one key, however wrong."""
    return (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (key(b"k", 99, b""), "key 'k' has type 99"),
        (key(b"k", 8, struct.pack("<Q", 1 << 63)), "truncated: key 'k' needs 9223372036854775808 bytes"),
        (key(b"k", 9, struct.pack("<IQ", 4, 1 << 62)), "truncated: key 'k' needs 18446744073709551616 bytes"),
        (key(b"k", 9, struct.pack("<IQ", 8, 1 << 62)), "truncated: key 'k'"),
        (key(b"k", 9, struct.pack("<IQ", 9, 1)), "key 'k' is a list of type 9"),
        (key(b"k", 9, struct.pack("<IQQQ", 8, 2, 0, 1 << 60)), "truncated: key 'k'"),
    ],
)
def test_hostile_lengths_are_refused_without_being_believed(data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(data)
    assert says in refused.value.message


def test_a_file_that_claims_to_be_vast_cannot_make_us_hold_it() -> None:
    """As of a sparse file: the sizes are possible, the memory is not."""
    million = struct.pack("<Q", 1 << 20) + bytes(1 << 20)
    data = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1000)
        + b"".join(struct.pack("<Q", 2) + b"k%d" % (n % 10) + struct.pack("<I", 8) + million for n in range(40))
    )
    with pytest.raises(InvalidRequest, match="beyond what a head may hold"):
        read(data, 1 << 40)


def tensor(dimensions: list[int], kind: int = 0, offset: int = 0) -> bytes:
    """Return a head with one tensor of that shape."""
    body = struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)
    architecture = struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<IQ", 8, 1) + b"x"
    return b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + architecture + struct.pack("<Q", 1) + b"t" + body


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tensor([1, 1, 1, 1, 1]), "5 dimensions"),
        (tensor([1 << 40, 1 << 40]), "which no file can hold"),
        (tensor([4], offset=1 << 63), "which no file can hold"),
        (tensor([33], kind=2), "rows of 33, expected a multiple of 32"),
        (tensor([1 << 30]), "truncated: tensor 't' ends at byte"),
    ],
)
def test_tensors_that_cannot_be_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(data)
    assert says in refused.value.message


def test_a_tensor_type_of_tomorrow_is_let_through() -> None:
    header = read(tensor([64], kind=77) + bytes(64))
    assert header.quantization == "type-77"


def test_a_vocabulary_is_no_model() -> None:
    with pytest.raises(InvalidRequest, match="no tensors"):
        read(written(tensors=0))


def test_a_strange_alignment_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"general\.alignment is 33"):
        read(written(general__alignment=33))


def test_parts_are_held_against_each_other() -> None:
    parts = [read(written(split__no=number, split__count=2)) for number in range(2)]
    check_split(parts)
    for wrong in (parts[::-1], parts[:1], [parts[0], parts[0]]):
        with pytest.raises(InvalidRequest, match="says it is part"):
            check_split(wrong)


@given(st.data())
def test_every_truncation_is_named(data: st.DataObject) -> None:
    length = data.draw(st.one_of(st.integers(0, head_length()), st.integers(0, read(tiny()).size_bytes - 1)))
    with pytest.raises(InvalidRequest, match=r"truncated|empty|not a GGUF"):
        read(tiny()[:length])


def test_every_truncation_of_the_first_keys_is_named() -> None:
    for length in range(1, 1200):
        with pytest.raises(InvalidRequest, match="truncated" if length >= 4 else "not a GGUF"):
            read(tiny()[:length])


@given(st.binary(max_size=4096))
def test_random_bytes_never_crash_it(data: bytes) -> None:
    for prefix in (b"", b"GGUF" + struct.pack("<I", 3), b"GGUF" + struct.pack("<IQQ", 3, 2, 2)):
        _header_or_refusal(prefix + data)


@given(st.lists(st.tuples(st.integers(0, 13_000), st.integers(0, 255)), min_size=1, max_size=20))
def test_a_spoilt_head_never_crashes_it(spots: list[tuple[int, int]]) -> None:
    spoilt = bytearray(tiny())
    for at, value in spots:
        spoilt[min(at, head_length() - 1)] = value
    _header_or_refusal(bytes(spoilt))


def _header_or_refusal(data: bytes) -> None:
    """Read, and look at every fact; InvalidRequest is the only way to fail."""
    try:
        header = read(data)
    except InvalidRequest as refused:
        assert refused.message
        assert refused.details["offset"] >= 0
        return
    assert header.size_bytes <= len(data)
    assert header.kv_bytes_per_token >= 0
    assert isinstance(header.name + header.quantization + header.architecture, str)
    assert min(header.context_tokens, header.layers, header.parameters, header.heads, header.split_count) >= 0
