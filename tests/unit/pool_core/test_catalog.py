import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import InvalidRequest
from rbee.pool_core.catalog import (
    BUILT_IN,
    Catalog,
    HubReference,
    Named,
    Package,
    PathReference,
    choose_file,
    id_for,
    id_of_file,
    merged,
    parse,
    parts_of,
    slug,
)
from rbee.wire.fields import NAME

SHA = "5" * 40


@dataclass
class Configured:
    repo: str = "acme/tiny"
    file: str = "tiny.gguf"
    path: str = ""
    revision: str = "main"
    sha256: str = ""


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("tinyllama", Named("tinyllama")),
        ("qwen-0.5b", Named("qwen-0.5b")),
        ("hf:org/Repo-GGUF", HubReference("org/Repo-GGUF")),
        ("hf:org/repo@main", HubReference("org/repo")),
        (f"hf:org/repo@{SHA}::file=q4/m.Q4_K_M.gguf", HubReference("org/repo", SHA, "q4/m.Q4_K_M.gguf")),
        ("hf:org/repo@refs/pr/1", HubReference("org/repo", "refs/pr/1")),
        ("hf:org/repo::file=a b.gguf", HubReference("org/repo", "", "a b.gguf")),
        ("file:/models/x.gguf", PathReference("/models/x.gguf")),
        ("/models/x y.gguf", PathReference("/models/x y.gguf")),
    ],
)
def test_each_form_is_understood_and_written_back(text: str, reference: object) -> None:
    assert parse(text) == reference
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no model reference"),
        ("http://10.0.0.1/x.gguf", "is a URL"),
        ("https://huggingface.co/a/b", "is a URL"),
        ("file://host/x.gguf", "is a URL"),
        ("s3://bucket/x", "is a URL"),
        ("org/repo", "write hf:org/repo"),
        ("../x.gguf", "no model reference"),
        ("Tiny", "no model reference"),
        ("hf:org", "is not hf:org/repo"),
        ("hf:org/repo/more", "is not hf:org/repo"),
        ("hf:../repo", "is not hf:org/repo"),
        ("hf:org/..", "is not hf:org/repo"),
        ("hf:org/repo@a..b", "holds '..'"),
        ("hf:org/repo::file=../x.gguf", "names the file"),
        ("hf:org/repo::file=/x.gguf", "names the file"),
        ("hf:org/repo::file=x.bin", "names the file"),
        ("hf:org/repo::file=a/../../x.gguf", "names the file"),
        ("/models/x\n.gguf", "no model reference"),
        ("tiny;reboot", "no model reference"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(text)
    assert says in refused.value.message
    assert "hf:org/repo" in refused.value.hint


@given(st.text(max_size=200))
def test_whatever_comes_is_a_reference_or_a_refusal(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidRequest:
        return
    assert parse(str(reference)) == reference
    if isinstance(reference, HubReference):
        assert ".." not in reference.file.split("/")


def test_the_built_in_names_are_those_of_the_specification() -> None:
    catalog = Catalog()
    assert [entry.id for entry in BUILT_IN] == ["smollm2", "tinyllama", "qwen", "phi3", "llama3", "mistral"]
    assert catalog.named("qwen-0.5b") is catalog.named("qwen")
    assert catalog.named("nobody") is None
    for entry in BUILT_IN:
        assert NAME.fullmatch(entry.id)
        assert parse(entry.reference)
    smollm2 = catalog.named("smollm2")
    assert smollm2 is not None
    assert isinstance(smollm2.source, Package)
    assert smollm2.reference == "smollm2"


def test_configured_models_come_over_the_built_in_ones() -> None:
    catalog = merged({"tinyllama": Configured(sha256="a" * 64), "qwen-0.5b": Configured(revision="v2")})
    mine, other = catalog.named("tinyllama"), catalog.named("qwen-0.5b")
    assert mine is not None
    assert (mine.reference, mine.sha256) == ("hf:acme/tiny::file=tiny.gguf", "a" * 64)
    assert other is not None
    assert other.reference == "hf:acme/tiny@v2::file=tiny.gguf"
    qwen = catalog.named("qwen")
    assert qwen is not None
    assert qwen.aliases == ()
    assert len(catalog.entries) == len(BUILT_IN) + 1


def test_a_hub_model_without_a_name_gets_a_stable_one() -> None:
    here = HubReference("a/b", "", "Some Model.Q4_K_M.gguf")
    assert id_for(here) == id_for(here)
    assert re.fullmatch(r"some-model\.q4_k_m-[0-9a-f]{6}", id_for(here))
    there = {id_for(HubReference(repo, revision, here.file)) for repo in ("a/b", "c/b") for revision in ("", "v1")}
    assert len(there) == 4


@given(st.text(max_size=300))
def test_every_id_is_a_name(text: str) -> None:
    assert NAME.fullmatch(slug(text))
    assert NAME.fullmatch(id_of_file(f"/models/{text}.gguf"))
    assert NAME.fullmatch(id_for(HubReference("a/b", "", f"{text}.gguf")))


def test_a_split_model_is_named_by_its_stem() -> None:
    assert id_of_file("/m/Big-00002-of-00003.gguf") == "big"
    assert parts_of("big.gguf") == ("big.gguf",)
    assert parts_of("b-00002-of-00003.gguf") == tuple(f"b-0000{n}-of-00003.gguf" for n in (1, 2, 3))


@pytest.mark.parametrize("file", ["b-00004-of-00003.gguf", "b-00000-of-00003.gguf", "b-00001-of-99999.gguf"])
def test_part_numbers_that_cannot_be_are_refused(file: str) -> None:
    with pytest.raises(InvalidRequest, match="is part"):
        parts_of(file)


def test_the_only_model_of_a_repository_is_meant_else_the_usual_quantization() -> None:
    assert choose_file(["README.md", "m.gguf"], "a/b") == "m.gguf"
    assert choose_file(["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], "a/b") == "m-00001-of-00002.gguf"
    assert choose_file(["m.Q8_0.gguf", "m.Q4_K_M.gguf"], "a/b") == "m.Q4_K_M.gguf"
    with pytest.raises(InvalidRequest, match="has 2 models"):
        choose_file(["a.gguf", "b.gguf"], "a/b")
    with pytest.raises(InvalidRequest, match=r"has no \.gguf"):
        choose_file(["model.safetensors"], "a/b")
