"""What a file is for, and what of it can be combined."""

import dataclasses
from pathlib import Path

import pytest

from rbee.adapters.model_files import describe, inspect_all, mark
from rbee.errors import InvalidRequest
from rbee.pool_core import kinds, mixes
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.workers import Kv
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
    kinds.require_kv(Kv.Q8_0, even)
    kinds.require_kv(Kv.F16, uneven)
    with pytest.raises(InvalidRequest, match="its heads have 80 values, expected a multiple of 32") as refused:
        kinds.require_kv(Kv.Q8_0, uneven)
    assert refused.value.hint == "--kv f16"
    with pytest.raises(InvalidRequest, match="it is an encoder"):
        kinds.require_kv(Kv.Q8_0, dataclasses.replace(even, architecture="bert"))


def test_a_mix_is_read_as_it_is_written() -> None:
    assert mixes.parts_of("smollm2+pirate+polite") == ("smollm2", ("pirate", "polite"))
    assert mixes.name_of(BASE, [PIRATE]) == "tiny+pirate"
    assert mixes.files_of("tiny+pirate", [PIRATE, BASE]) == (BASE, PIRATE)
    assert mixes.files_of("gone+pirate", [PIRATE, BASE]) == ()


@pytest.mark.parametrize("name", ["smollm2", "/models/a+b.gguf", "file:/models/a+b.gguf", "hf:org/repo::file=a+b.gguf"])
def test_what_is_no_mix_stands_for_itself(name: str) -> None:
    assert mixes.parts_of(name) == (name, ())


@pytest.mark.parametrize("name", ["a+", "a++b", "a+b+b", "a+a", "a+B", "a+" + "+".join("bcdefghij")])
def test_a_mix_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="model is "):
        mixes.parts_of(name)


def test_only_an_adapter_of_its_own_architecture_goes_over_a_model() -> None:
    mixes.check(BASE, [PIRATE])
    with pytest.raises(InvalidRequest, match="pirate is an adapter of llama models, and no model") as alone:
        mixes.check(PIRATE, [])
    assert alone.value.hint == "--model <base>+pirate"
    with pytest.raises(InvalidRequest, match="tiny is a model, and no adapter for tiny"):
        mixes.check(BASE, [BASE])
    with pytest.raises(InvalidRequest, match="pirate is an adapter of qwen2 models, tiny is of llama"):
        mixes.check(BASE, [dataclasses.replace(PIRATE, architecture="qwen2")])
