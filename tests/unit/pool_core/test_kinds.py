"""What a file is for, and what of it can be combined."""

import dataclasses
from pathlib import Path

import pytest

from rbee.adapters.model_files import describe, inspect_all, mark
from rbee.errors import InvalidRequest
from rbee.pool_core import kinds, mixes
from rbee.pool_core.flash import has_flash
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.mixes import parts_of
from rbee.wire.workers import Backend, Kv
from tests.assets import tiny_gguf
from tests.assets.kinds import tiny_encoder, tiny_lora
from tests.fakes.pool import TINY

BASE = dataclasses.replace(TINY, architecture="llama")
PIRATE = dataclasses.replace(BASE, id="pirate", kind=ModelKind.ADAPTER)


def described(path: Path) -> ModelFile:
    return describe("x", f"file:{path}", [mark(path)], inspect_all([path]))


def test_the_header_says_what_a_model_is_for(tmp_path: Path) -> None:
    files = {
        ModelKind.GENERATE: tiny_gguf(tmp_path / "a.gguf"),
        ModelKind.EMBED: tiny_encoder(tmp_path / "b.gguf"),
        ModelKind.RERANK: tiny_encoder(tmp_path / "c.gguf", ranks=True),
        ModelKind.ADAPTER: tiny_lora(tmp_path / "d.gguf"),
    }
    assert {kind: described(path).kind for kind, path in files.items()} == {kind: kind for kind in files}
    assert kinds.keeps_no_cache(described(files[ModelKind.EMBED]))
    assert described(files[ModelKind.ADAPTER]).architecture == "llama"


def test_an_adapter_that_is_no_lora_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="an adapter of type 'ia3', expected 'lora'"):
        described(tiny_lora(tmp_path / "x.gguf", kind="ia3"))


def test_a_cache_that_llama_would_refuse_is_refused_before() -> None:
    even, uneven = (dataclasses.replace(BASE, key_length=each, value_length=each) for each in (64, 80))
    kinds.require_kv(Kv.Q8_0, even, Backend.CPU)
    kinds.require_kv(Kv.F16, uneven, Backend.CPU)
    with pytest.raises(InvalidRequest, match="its heads have 80 values, expected a multiple of 32") as refused:
        kinds.require_kv(Kv.Q8_0, uneven, Backend.CPU)
    assert refused.value.hint == "--kv f16"
    with pytest.raises(InvalidRequest, match="it is an encoder"):
        kinds.require_kv(Kv.Q8_0, dataclasses.replace(even, architecture="bert"), Backend.CPU)


def test_a_cache_for_which_a_gpu_would_leave_the_work_to_the_cpu_is_refused_there() -> None:
    kinds.require_kv(Kv.Q8_0, dataclasses.replace(BASE, key_length=0, value_length=0), Backend.CUDA)  # it is tried
    odd = dataclasses.replace(BASE, key_length=160, value_length=160)
    kinds.require_kv(Kv.Q8_0, odd, Backend.CPU)
    with pytest.raises(InvalidRequest, match="cuda has no flash attention, which q8_0 needs, for heads of 160 and 160"):
        kinds.require_kv(Kv.Q8_0, odd, Backend.CUDA)


@pytest.mark.parametrize(
    ("key", "value", "heads", "keys", "flash"),
    [
        (64, 64, 8, 8, True), (80, 80, 32, 32, True), (128, 128, 32, 8, True), (96, 64, 40, 40, False),
        (192, 128, 16, 16, False), (192, 128, 64, 8, True), (192, 192, 64, 8, False), (576, 512, 16, 1, True),
        (576, 512, 16, 16, False), (512, 512, 8, 1, True), (160, 160, 32, 32, False), (0, 0, 8, 8, False),
    ],
)  # fmt: skip
def test_gpus_have_flash_attention_for_some_lengths_of_heads(
    key: int, value: int, heads: int, keys: int, flash: bool
) -> None:
    cache = 4 * keys * (key + value) * 2
    model = dataclasses.replace(
        BASE, key_length=key, value_length=value, heads=heads, layers=4, kv_bytes_per_token=cache
    )
    assert (has_flash(model, Backend.CUDA), has_flash(model, Backend.CPU)) == (flash, True)


@pytest.mark.parametrize("architecture", ["t5", "llada", "t5encoder"])
def test_what_llama_loads_and_cannot_be_asked_token_by_token_is_refused(architecture: str) -> None:
    kinds.require_usable(BASE)
    with pytest.raises(InvalidRequest, match=f"tiny is of architecture {architecture}, which does not say one token"):
        kinds.require_usable(dataclasses.replace(BASE, architecture=architecture))


def test_a_mix_is_read_as_it_is_written() -> None:
    assert parts_of("smollm2+pirate+polite") == ("smollm2", ("pirate", "polite"))
    assert mixes.name_of(BASE, [PIRATE]) == "tiny+pirate"
    assert mixes.files_of("tiny+pirate", [PIRATE, BASE]) == (BASE, PIRATE)
    assert mixes.files_of("gone+pirate", [PIRATE, BASE]) == ()


@pytest.mark.parametrize("name", ["smollm2", "/models/a+b.gguf", "file:/models/a+b.gguf", "hf:org/repo::file=a+b.gguf"])
def test_what_is_no_mix_stands_for_itself(name: str) -> None:
    assert parts_of(name) == (name, ())


@pytest.mark.parametrize("name", ["a+", "a++b", "a+b+b", "a+a", "a+B", "a+" + "+".join("bcdefghij")])
def test_a_mix_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="model is "):
        parts_of(name)


def test_only_an_adapter_of_its_own_architecture_goes_over_a_model() -> None:
    mixes.check(BASE, [PIRATE])
    with pytest.raises(InvalidRequest, match="pirate is an adapter of llama models, and no model") as alone:
        mixes.check(PIRATE, [])
    assert alone.value.hint == "--model <base>+pirate"
    with pytest.raises(InvalidRequest, match="tiny is a model, and no adapter for tiny"):
        mixes.check(BASE, [BASE])
    with pytest.raises(InvalidRequest, match="pirate is an adapter of qwen2 models, tiny is of llama"):
        mixes.check(BASE, [dataclasses.replace(PIRATE, architecture="qwen2")])


def test_an_adapter_of_a_model_of_another_size_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    base, over = (
        described(tiny_gguf(tmp_path / "a.gguf", layers=2)),
        described(tiny_lora(tmp_path / "b.gguf", layers=2)),
    )
    assert (over.embedding_length, over.layers) == (base.embedding_length, base.layers) == (64, 2)
    mixes.check(base, [over])
    with pytest.raises(InvalidRequest, match="x is an adapter of models with vectors of 64, x has vectors of 2048"):
        mixes.check(dataclasses.replace(base, embedding_length=2048), [over])
    with pytest.raises(InvalidRequest, match="x is an adapter of models with 2 layers or more, x has 1"):
        mixes.check(dataclasses.replace(base, layers=1), [over])
    mixes.check(dataclasses.replace(base, embedding_length=0, layers=0), [over])
