"""What the head of a GGUF file says, and whether the file is whole.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Only the head is read; every count and length is
held against the file's size before anything is allocated, since anybody may have written the file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from rbee.errors import InvalidRequest
from rbee.pool_core.gguf_reader import GgufReader, Texts, refuse
from rbee.pool_core.gguf_types import FILE_TYPES, TENSOR_TYPES

MAGIC = b"GGUF"
VERSIONS = (2, 3)
F16_BYTES = 2
_KEYS_MAX = 1 << 16
_TENSORS_MAX = 1 << 17
_DIMENSIONS_MAX = 4
_ALIGNMENT_MAX = 1 << 20
_LAYERS_MAX = 1 << 16
_ADAPTED = re.compile(r"blk\.(?P<layer>\d{1,5})\.(?P<part>\w+)\.weight\.lora_a")
_TAKE_VECTORS = frozenset({"attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_gate", "ffn_up"})


@dataclass(frozen=True, slots=True)
class Tensor:
    """``offset`` counts from the start of the data; ``size_bytes`` is None for a type younger than this table.

    ``width`` is how many numbers a row has.
    """

    name: str
    kind: int
    width: int
    elements: int
    offset: int
    size_bytes: int | None


@dataclass(frozen=True)
class Header:
    """One file's head. ``keys`` has scalars, texts and short lists of numbers; long lists are skipped."""

    version: int
    keys: Mapping[str, Any]
    tensors: Sequence[Tensor]
    data_offset: int

    @property
    def architecture(self) -> str:
        return self._text("general.architecture")

    @property
    def general_type(self) -> str:
        """Return ``model``, ``adapter``, …; empty where the file is older than that key, and so a model."""
        return self._text("general.type")

    @property
    def adapter_type(self) -> str:
        """Return what kind of adapter it is: ``lora`` is the one llama.cpp takes."""
        return self._text("adapter.type")

    @property
    def pooling(self) -> int | None:
        """Return how it makes one vector of many (llama_pooling_type); None where it does not say."""
        found = self._number(f"{self.architecture}.pooling_type", -1)
        return None if found < 0 else found

    @property
    def name(self) -> str:
        return self._text("general.name")

    @cached_property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @cached_property
    def quantization(self) -> str:
        """Return the name of the file type (Q4_K_M); else of the tensor type that most weights have."""
        named = FILE_TYPES.get(self._number("general.file_type", -1))
        if named or not self.tensors:
            return named or ""
        weights: dict[int, int] = {}
        for tensor in self.tensors:
            weights[tensor.kind] = weights.get(tensor.kind, 0) + tensor.elements
        kind = max(weights, key=lambda kind: weights[kind])
        return TENSOR_TYPES[kind].name if kind in TENSOR_TYPES else f"type-{kind}"

    @property
    def context_tokens(self) -> int:
        return self._of_architecture("context_length")

    @property
    def embedding_length(self) -> int:
        """Return how many numbers a vector of the model has; of an adapter, of the model that it is for.

        What an adapter puts before a layer's queries or its gate takes the model's vectors.
        """
        width = next((tensor.width for tensor, place in self._adapted if place["part"] in _TAKE_VECTORS), 0)
        return self._of_architecture("embedding_length") or width

    @property
    def layers(self) -> int:
        """Return how many layers the model has; of an adapter, up to which it changes one."""
        changed = max((int(place["layer"]) + 1 for _, place in self._adapted), default=0)
        return self._of_architecture("block_count") or changed

    @property
    def heads(self) -> int:
        """Return the query heads; where layers differ, the most."""
        return max(self._per_layer("attention.head_count"), default=0)

    @property
    def kv_heads(self) -> tuple[int, ...]:
        """Return the key and value heads of each layer; a layer without attention has 0."""
        given = self._per_layer("attention.head_count_kv")
        return given or self._per_layer("attention.head_count")

    @property
    def key_length(self) -> int:
        return self._of_architecture("attention.key_length", self._head_length())

    @property
    def value_length(self) -> int:
        return self._of_architecture("attention.value_length", self._head_length())

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the bytes that one token takes in the key and value cache in f16, all layers, as llama.cpp allocates.

        Models with sliding windows need less; this is what they need at most.
        """
        return sum(self.kv_heads) * (self.key_length + self.value_length) * F16_BYTES

    @property
    def embedding_bytes(self) -> int:
        """Return the size of the table that turns tokens into vectors."""
        return self._tensor_bytes("token_embd.weight")

    @property
    def output_bytes(self) -> int:
        """Return the size of the output layer; 0 where it is the table of embeddings, or in another file."""
        return self._tensor_bytes("output.weight")

    @property
    def feed_forward_length(self) -> int:
        return max(self._per_layer("feed_forward_length"), default=0)

    @property
    def vocabulary(self) -> int:
        """Return how many tokens the model knows; 0 when the head does not say."""
        return self._vocabulary.count

    @property
    def longest_token_bytes(self) -> int:
        """Return the bytes of the longest token as it is written in the file, which is no less than it stands for."""
        return self._vocabulary.longest_bytes

    @property
    def _vocabulary(self) -> Texts:
        value = self.keys.get("tokenizer.ggml.tokens")
        return value if isinstance(value, Texts) else Texts(self._of_architecture("vocab_size"), 0)

    @property
    def chat_template(self) -> bool:
        return bool(self._text("tokenizer.chat_template"))

    @property
    def split_count(self) -> int:
        """Return of how many files the model is; 1 when it is not split."""
        return max(1, self._number("split.count", 1))

    @property
    def split_no(self) -> int:
        """Return which of them this is, from 0."""
        return self._number("split.no", 0)

    @cached_property
    def size_bytes(self) -> int:
        """Return how long the file is at least."""
        return max((self.data_offset + t.offset + (t.size_bytes or 0) for t in self.tensors), default=self.data_offset)

    @cached_property
    def _adapted(self) -> "Sequence[tuple[Tensor, re.Match[str]]]":
        """Return the tensors of an adapter (LoRA) that lie before a part of a layer, each with that part's name."""
        return [(tensor, place) for tensor in self.tensors if (place := _ADAPTED.fullmatch(tensor.name))]

    def _tensor_bytes(self, name: str) -> int:
        return next((tensor.size_bytes or 0 for tensor in self.tensors if tensor.name == name), 0)

    def _head_length(self) -> int:
        return self.embedding_length // self.heads if self.heads else 0

    def _per_layer(self, key: str) -> tuple[int, ...]:
        value = self.keys.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple):
            return tuple(max(0, item) for item in value if isinstance(item, int))[: self.layers]
        return (max(0, value),) * self.layers if isinstance(value, int) else ()

    def _of_architecture(self, key: str, default: int = 0) -> int:
        return max(0, self._number(f"{self.architecture}.{key}", default))

    def _number(self, key: str, default: int) -> int:
        value = self.keys.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def _text(self, key: str) -> str:
        value = self.keys.get(key)
        return value if isinstance(value, str) else ""


def read_header(stream: BinaryIO, size_bytes: int) -> Header:
    """Return the head of the GGUF file that ``stream`` is at the start of.

    Args:
        size_bytes: of the whole file; what the head promises is held against it.

    Raises:
        InvalidRequest: not GGUF, a version we cannot read, nonsense inside, or truncated; ``details["offset"]`` is
            where in the file.
    """
    reader = GgufReader(stream, size_bytes)
    version = _version(reader)
    tensor_count = reader.count("tensors", _TENSORS_MAX)
    key_count = reader.count("keys", _KEYS_MAX)
    keys = dict(_keys(reader, key_count))
    tensors = tuple(_tensors(reader, tensor_count))
    header = Header(version, keys, tensors, _data_offset(reader, keys, bool(tensors)))
    _check_whole(header, size_bytes)
    _check_model(header)
    return header


def check_split(headers: Sequence[Header]) -> None:
    """Hold the parts of one model, in order, against what they say of each other.

    Raises:
        InvalidRequest: a part is missing, doubled or from another split.
    """
    for number, header in enumerate(headers):
        if header.split_count != len(headers) or header.split_no != number:
            raise InvalidRequest(
                f"part {number + 1} of {len(headers)} says it is part {header.split_no + 1} of {header.split_count}",
                hint="the parts of a split model lie in one folder, named …-00001-of-00003.gguf as they were made",
            )


def _version(reader: GgufReader) -> int:
    if reader.size_bytes == 0:
        raise refuse("the file is empty, expected a GGUF model", 0)
    magic = reader.take(len(MAGIC), "the magic") if reader.size_bytes >= len(MAGIC) else reader.take_rest()
    if magic != MAGIC:
        raise refuse(f"not a GGUF file: it begins with {magic!r}, expected {MAGIC!r}", 0)
    version = reader.u32("the version")
    if version in VERSIONS:
        return version
    if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
        raise refuse("a big-endian GGUF file; this build reads little-endian ones", 4)
    raise refuse(f"GGUF version {version}, expected {' or '.join(map(str, VERSIONS))}", 4)


def _keys(reader: GgufReader, count: int) -> Iterator[tuple[str, Any]]:
    for number in range(count):
        key = reader.text(f"the name of key {number + 1} of {count}")
        yield key, reader.value(f"key {key!r}")


def _tensors(reader: GgufReader, count: int) -> Iterator[Tensor]:
    for number in range(count):
        name = reader.text(f"the name of tensor {number + 1} of {count}")
        yield _tensor(reader, name)


def _tensor(reader: GgufReader, name: str) -> Tensor:
    start = reader.offset
    what = f"tensor {name!r}"
    dimensions = reader.u32(what)
    if dimensions > _DIMENSIONS_MAX:
        raise refuse(f"{what} has {dimensions} dimensions, expected at most {_DIMENSIONS_MAX}", start)
    shape = [reader.u64(what) for _ in range(dimensions)]
    kind, offset = reader.u32(what), reader.u64(what)
    elements = 1
    for length in shape:
        elements *= length
    if elements >= 1 << 62 or offset >= 1 << 62:
        raise refuse(f"{what} has {elements} elements at offset {offset}, which no file can hold", start)
    layout, width = TENSOR_TYPES.get(kind), shape[0] if shape else 1
    if layout is None:
        return Tensor(name, kind, width, elements, offset, None)
    if width % layout.block_elements:
        raise refuse(f"{what} has rows of {width}, expected a multiple of {layout.block_elements}", start)
    return Tensor(name, kind, width, elements, offset, elements // layout.block_elements * layout.block_bytes)


def _data_offset(reader: GgufReader, keys: Mapping[str, Any], has_data: bool) -> int:
    alignment = keys.get("general.alignment", 32)
    known = isinstance(alignment, int) and 0 < alignment <= _ALIGNMENT_MAX and alignment & (alignment - 1) == 0
    if not known:
        raise refuse(f"general.alignment is {alignment!r}, expected a power of two", reader.offset)
    return (reader.offset + alignment - 1) // alignment * alignment if has_data else reader.offset


def _check_whole(header: Header, size_bytes: int) -> None:
    """Raise InvalidRequest when the file is shorter than its tensors."""
    for tensor in header.tensors:
        end = header.data_offset + tensor.offset + (tensor.size_bytes or 0)
        if end > size_bytes:
            raise refuse(
                f"truncated: tensor {tensor.name!r} ends at byte {end}, the file has {size_bytes}, "
                f"expected {header.size_bytes}",
                size_bytes,
            )


def _check_model(header: Header) -> None:
    """Raise InvalidRequest when it is a sound GGUF file and yet no model (a vocabulary, say)."""
    if header.split_no > 0:
        return
    if not header.architecture:
        raise refuse("general.architecture is missing: not a model", 0)
    if header.general_type == "adapter" and header.adapter_type != "lora":
        raise refuse(f"an adapter of type {header.adapter_type!r}, expected 'lora'", 0)
    if header.layers > _LAYERS_MAX:
        raise refuse(f"{header.architecture}.block_count is {header.layers}, expected at most {_LAYERS_MAX}", 0)
    if not header.tensors and header.split_count == 1:
        raise refuse("it holds no tensors: a vocabulary, not a model", 0)
