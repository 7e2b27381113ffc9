"""Files that are not quite what ``tiny_gguf`` is, and as small: encoders that embed or rank, a LoRA, a Mamba."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

CONTEXT_TOKENS = 512
ENCODER_WIDTH = 64
"""Numbers in each vector that the tiny encoder makes."""

_HIDDEN, _HEADS, _RANK = 128, 2, 4
_CONVOLVED, _STATE = 4, 16  # of a Mamba
_TINY_WIDTH = 64  # of tiny_gguf
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_encoder(path: Path | str, *, ranks: bool = False, layers: int = 2, vocabulary: int = 0) -> Path:
    """Write a BERT of seeded noise that knows letters, and return it.

    Args:
        ranks: it has a classifier, which gives a text and a query one number.
        vocabulary: of how many tokens more, all of them useless.
    """
    random = np.random.default_rng(1)
    words = [*_SPECIAL, *(f"▁{letter}" for letter in _LETTERS), *_LETTERS, *(f"▁w{n}" for n in range(vocabulary))]
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_type("model")
    writer.add_name("rbee-tiny-ranker" if ranks else "rbee-tiny-encoder")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(ENCODER_WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK if ranks else gguf.PoolingType.MEAN)
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types([int(gguf.TokenType.CONTROL)] * len(_SPECIAL) + [1] * (len(words) - len(_SPECIAL)))
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    for name, values in _encoder_tensors(random, layers, len(words), ranks=ranks):
        writer.add_tensor(name, values)
    return _written(writer, path)


def tiny_lora(path: Path | str, *, architecture: str = "llama", layers: int = 2, kind: str = "lora") -> Path:
    """Write an adapter over ``tiny_gguf`` that changes much of what it says, and return it."""
    random = np.random.default_rng(2)
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 16.0)
    for layer in range(layers):
        for part in ("attn_q", "attn_v"):
            name = f"blk.{layer}.{part}.weight"
            writer.add_tensor(f"{name}.lora_a", _noise(random, _RANK, _TINY_WIDTH))
            writer.add_tensor(f"{name}.lora_b", _noise(random, _TINY_WIDTH, _RANK))
    return _written(writer, path)


def tiny_mamba(path: Path | str, *, layers: int = 2) -> Path:
    """Write a Mamba of seeded noise that says bytes, and return it: its state sums up all it has read."""
    random = np.random.default_rng(3)
    words = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_type("model")
    writer.add_name("rbee-tiny-mamba")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_TINY_WIDTH)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(_CONVOLVED)
    writer.add_ssm_inner_size(2 * _TINY_WIDTH)
    writer.add_ssm_state_size(_STATE)
    writer.add_ssm_time_step_rank(_RANK)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    for name, values in _mamba_tensors(random, layers, len(words)):
        writer.add_tensor(name, values)
    return _written(writer, path)


def _mamba_tensors(random: np.random.Generator, layers: int, words: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    width, inner = _TINY_WIDTH, 2 * _TINY_WIDTH
    yield "token_embd.weight", _noise(random, words, width)
    yield "output_norm.weight", np.ones(width, np.float32)
    yield "output.weight", _noise(random, words, width)
    for layer in range(layers):
        name = f"blk.{layer}"
        yield f"{name}.attn_norm.weight", np.ones(width, np.float32)
        yield f"{name}.ssm_in.weight", _noise(random, 2 * inner, width)
        yield f"{name}.ssm_conv1d.weight", _noise(random, inner, _CONVOLVED)
        yield f"{name}.ssm_conv1d.bias", np.zeros(inner, np.float32)
        yield f"{name}.ssm_x.weight", _noise(random, _RANK + 2 * _STATE, inner)
        yield f"{name}.ssm_dt.weight", _noise(random, inner, _RANK)
        yield f"{name}.ssm_dt.bias", np.zeros(inner, np.float32)
        yield f"{name}.ssm_a", -np.exp(_noise(random, inner, _STATE))  # a state fades, and never grows
        yield f"{name}.ssm_d", np.ones(inner, np.float32)
        yield f"{name}.ssm_out.weight", _noise(random, width, inner)


def _encoder_tensors(
    random: np.random.Generator, layers: int, words: int, *, ranks: bool
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    width, ones, zeros = ENCODER_WIDTH, np.ones(ENCODER_WIDTH, np.float32), np.zeros(ENCODER_WIDTH, np.float32)
    yield "token_embd.weight", _noise(random, words, width)
    yield "token_types.weight", _noise(random, 2, width)
    yield "position_embd.weight", _noise(random, CONTEXT_TOKENS, width)
    yield "token_embd_norm.weight", ones
    yield "token_embd_norm.bias", zeros
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{part}.weight", _noise(random, width, width)
            yield f"blk.{layer}.{part}.bias", zeros
        yield f"blk.{layer}.ffn_up.weight", _noise(random, _HIDDEN, width)
        yield f"blk.{layer}.ffn_up.bias", np.zeros(_HIDDEN, np.float32)
        yield f"blk.{layer}.ffn_down.weight", _noise(random, width, _HIDDEN)
        yield f"blk.{layer}.ffn_down.bias", zeros
        for norm in ("attn_output_norm", "layer_output_norm"):
            yield f"blk.{layer}.{norm}.weight", ones
            yield f"blk.{layer}.{norm}.bias", zeros
    if ranks:
        yield "cls.weight", _noise(random, width, width)
        yield "cls.bias", zeros
        yield "cls.output.weight", _noise(random, 1, width)
        yield "cls.output.bias", np.zeros(1, np.float32)


def _noise(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (random.standard_normal(shape) * 0.2).astype(np.float32)


def _written(writer: gguf.GGUFWriter, path: Path | str) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)
