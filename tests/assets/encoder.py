"""A BERT small enough for a unit test: it turns texts into vectors of 32 numbers, or scores pairs. Seeded noise."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

CONTEXT_TOKENS, WIDTH = 64, 32
_HIDDEN, _HEADS = 64, 2
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS = (*_SPECIAL, *(f"▁{letter}" for letter in _LETTERS), *_LETTERS)


def tiny_encoder(path: Path | str, *, ranks: bool = False, layers: int = 2, seed: int = 0) -> Path:
    """Write a model to ``path`` and return it; with ``ranks`` one that scores a query with a document."""
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("rbee-tiny-encoder")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK if ranks else gguf.PoolingType.MEAN)
    _add_vocabulary(writer)
    for tensor, values in _tensors(np.random.default_rng(seed), layers, ranks):
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    kinds = [gguf.TokenType.CONTROL] * len(_SPECIAL) + [gguf.TokenType.NORMAL] * (len(_WORDS) - len(_SPECIAL))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list(_WORDS)
    writer.add_token_scores([0.0] * len(_WORDS))
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)


def _tensors(random: np.random.Generator, layers: int, ranks: bool) -> Iterator[tuple[str, NDArray[np.float32]]]:
    def noise(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    def norm(name: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", np.ones(WIDTH, np.float32)
        yield f"{name}.bias", noise(WIDTH)

    yield "token_embd.weight", noise(len(_WORDS), WIDTH)
    yield "token_types.weight", noise(2, WIDTH)
    yield "position_embd.weight", noise(CONTEXT_TOKENS, WIDTH)
    yield from norm("token_embd_norm")
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{part}.weight", noise(WIDTH, WIDTH)
            yield f"blk.{layer}.{part}.bias", noise(WIDTH)
        yield f"blk.{layer}.ffn_up.weight", noise(_HIDDEN, WIDTH)
        yield f"blk.{layer}.ffn_up.bias", noise(_HIDDEN)
        yield f"blk.{layer}.ffn_down.weight", noise(WIDTH, _HIDDEN)
        yield f"blk.{layer}.ffn_down.bias", noise(WIDTH)
        yield from norm(f"blk.{layer}.attn_output_norm")
        yield from norm(f"blk.{layer}.layer_output_norm")
    if ranks:
        yield "cls.weight", noise(WIDTH, WIDTH)
        yield "cls.bias", noise(WIDTH)
        yield "cls.output.weight", noise(1, WIDTH)
        yield "cls.output.bias", noise(1)
