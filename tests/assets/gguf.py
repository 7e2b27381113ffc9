"""A llama model small enough for a unit test: half a megabyte, loaded in 10 ms, 1,500 tokens/s on one thread.

Its weights are seeded noise and its vocabulary is bytes and single characters, so it babbles, in every alphabet and
in halves of characters, and always the same: the whole real pipeline runs on it, in CI, without a download.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

CONTEXT_TOKENS = 512
"""What the model says it was trained for."""

_TYPE = gguf.GGMLQuantizationType.Q8_0
_WIDTH, _HIDDEN = 64, 128
_CHARACTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\"-:;()"
_SPECIAL = ("<unk>", "<s>", "</s>")
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))


class Template(StrEnum):
    """Chat templates to try: NONE leaves it out."""

    NONE = ""
    PLAIN = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"
    STRICT = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    )
    BROKEN = "{{ raise_exception('this template takes nobody') }}"


def tiny_gguf(
    path: Path | str,
    *,
    layers: int = 2,
    seed: int = 0,
    template: Template = Template.PLAIN,
    context_tokens: int = CONTEXT_TOKENS,
    name: str = "rbee-tiny",
    quantised: bool = False,
    heads: int = 4,
    useless: int = 0,
    pooling: gguf.PoolingType | None = None,
    begins: bool = True,
    tensors_a_part: int = 0,
) -> Path:
    """Write a model to ``path`` and return it; the same arguments give the same bytes.

    Args:
        layers: 2 is about 0.5 MB; each more adds 160 kB.
        begins: every text begins with a token of its own.
        quantised: to Q8_0, of which llama.cpp computes a row the same whatever is computed beside it.
        seed: of the weights.
        heads: that share a vector of 64.
        useless: tokens more that no text has.
        pooling: how it makes one vector of many; None: it generates.
        tensors_a_part: of a split model, whose first part is returned; 0: it is one file.
    """
    writer = gguf.GGUFWriter(str(path), "llama", split_max_tensors=tensors_a_part)
    _add_shape(writer, layers, context_tokens, name, quantised=quantised, heads=heads)
    _add_vocabulary(writer, useless, begins=begins)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    if template:
        writer.add_chat_template(template.value)
    for tensor, values in _tensors(np.random.default_rng(seed), layers, useless):
        if quantised and values.ndim > 1:
            writer.add_tensor(tensor, gguf.quants.quantize(values, _TYPE), raw_dtype=_TYPE)
        else:
            writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if tensors_a_part:
        return min(Path(path).parent.glob(f"{Path(path).stem}-00001-of-*.gguf"))
    return Path(path)


def _add_shape(
    writer: gguf.GGUFWriter, layers: int, context_tokens: int, name: str, *, quantised: bool, heads: int
) -> None:
    writer.add_name(name)
    writer.add_description("seeded noise, for tests")
    writer.add_license("CC0-1.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quantised else gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context_tokens)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(_WIDTH // heads)
    writer.add_layer_norm_rms_eps(1e-5)


def _add_vocabulary(writer: gguf.GGUFWriter, useless: int, *, begins: bool) -> None:
    """Bytes can say anything; single characters spare llama.cpp's SPM tokenizer from needing merges."""
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * len(_BYTES) + [gguf.TokenType.NORMAL] * (len(_CHARACTERS) + useless)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    words = [*_SPECIAL, *_BYTES, *_CHARACTERS, *(f"word{n}" for n in range(useless))]
    characters = [-float(n) for n in range(len(_CHARACTERS))]
    writer.add_token_list(words)
    writer.add_vocab_size(len(words))
    writer.add_token_scores([0.0] * 3 + [-1e4] * len(_BYTES) + characters + [-2e4] * useless)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(begins)


def _tensors(random: np.random.Generator, layers: int, useless: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    words = len(_SPECIAL) + len(_BYTES) + len(_CHARACTERS) + useless

    def noise(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.08).astype(np.float32)

    ones = np.ones(_WIDTH, np.float32)
    yield "token_embd.weight", noise(words, _WIDTH)
    yield "output_norm.weight", ones
    yield "output.weight", noise(words, _WIDTH)
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{part}.weight", noise(_WIDTH, _WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{part}.weight", noise(_HIDDEN, _WIDTH)
        yield f"blk.{layer}.ffn_down.weight", noise(_WIDTH, _HIDDEN)
        yield f"blk.{layer}.attn_norm.weight", ones
        yield f"blk.{layer}.ffn_norm.weight", ones
