"""Write a model of a known shape with random weights: as large and as fast as a real one, and it babbles.

    python -m bench.shaped build/bench/8b.gguf --shape 8b

For machines where no real model of that size can be had. The words are those of the embedded model.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from bench.servers import embedded_model

_BLOCK_WEIGHTS, _BLOCK_BYTES = 32, 18  # of Q4_0: a 16-bit scale and 32 numbers of 4 bits
Q4_0, F32 = gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.F32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int


SHAPES = {
    "tiny": Shape(layers=4, width=256, hidden=768, heads=4, kv_heads=2),
    "1b": Shape(layers=16, width=2048, hidden=8192, heads=32, kv_heads=8),
    "8b": Shape(layers=32, width=4096, hidden=14_336, heads=32, kv_heads=8),
}


def write(path: Path, shape: Shape, words: Path, *, kind: gguf.GGMLQuantizationType = Q4_0) -> None:
    """Write the model, in Q4_0 or F32, with the vocabulary and the chat template of the model ``words``."""
    known = gguf.GGUFReader(words)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random, {shape.layers} layers of {shape.width}")
    writer.add_context_length(8192)
    writer.add_block_count(shape.layers)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(500_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0 if kind is Q4_0 else gguf.LlamaFileType.ALL_F32)
    for name, field in known.fields.items():
        if name.startswith("tokenizer."):
            of = field.types[0]
            inner = field.types[1] if of is gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), of, inner)
    vocabulary = len(known.fields["tokenizer.ggml.tokens"].data)
    matrices = list(_matrices(shape, vocabulary))
    most = max(rows * columns for _, rows, columns in matrices)
    noise = _noise(most) if kind is Q4_0 else _numbers(most)
    for name, rows, columns in matrices:
        count = rows * columns // (_BLOCK_WEIGHTS if kind is Q4_0 else 1)
        writer.add_tensor(name, noise[:count].reshape(rows, -1), raw_dtype=kind)  # a view: all are this noise
    for name in _norms(shape):
        writer.add_tensor(name, np.ones(shape.width, np.float32), raw_dtype=F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _matrices(shape: Shape, vocabulary: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name, the rows and the columns of each."""
    width, narrow = shape.width, shape.width // shape.heads * shape.kv_heads
    yield "token_embd.weight", vocabulary, width
    yield "output.weight", vocabulary, width
    for layer in range(shape.layers):
        for part, rows, columns in (
            ("attn_q", width, width), ("attn_k", narrow, width), ("attn_v", narrow, width),
            ("attn_output", width, width), ("ffn_gate", shape.hidden, width), ("ffn_up", shape.hidden, width),
            ("ffn_down", width, shape.hidden),
        ):  # fmt: skip
            yield f"blk.{layer}.{part}.weight", rows, columns


def _norms(shape: Shape) -> Iterator[str]:
    yield "output_norm.weight"
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight"
        yield f"blk.{layer}.ffn_norm.weight"


def _noise(weights: int) -> NDArray[np.uint8]:
    """Return the blocks of so many weights."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (weights // _BLOCK_WEIGHTS, _BLOCK_BYTES), np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(0.004).tobytes(), np.uint8)
    return blocks


def _numbers(weights: int) -> NDArray[np.float32]:
    return (np.random.default_rng(0).standard_normal(weights, np.float32) * 0.05).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--words", type=Path, help="a GGUF with a vocabulary; the embedded model's")
    given = parser.parse_args()
    given.path.parent.mkdir(parents=True, exist_ok=True)
    write(given.path, SHAPES[given.shape], given.words or embedded_model())


if __name__ == "__main__":
    main()
