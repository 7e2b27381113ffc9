"""One model, however it is spelt."""

import pytest

from rbee.orchestrator_core.names import Names, quantised
from rbee.pool_core.catalog import BUILT_IN
from rbee.wire.catalog import ModelEntry

QWEN = "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF"
NAMES = Names(ModelEntry(id=each.id, reference=each.reference, aliases=each.aliases) for each in BUILT_IN)


@pytest.mark.parametrize("name", ["qwen", f"{QWEN}::file=qwen2.5-0.5b-instruct-q4_k_m.gguf", f"{QWEN}:Q4_K_M"])
def test_the_catalogs_model_is_found_by_each_spelling(name: str) -> None:
    assert (NAMES.canonical(name), NAMES.known(name)) == ("qwen", True)


@pytest.mark.parametrize("name", [QWEN, f"{QWEN}:Q8_0", "hf:a/b:Q4_K_M"])
def test_what_is_not_in_the_catalog_stands_for_itself(name: str) -> None:
    assert (NAMES.canonical(name), NAMES.known(name)) == (name, False)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("hf:a/b@main::file=q/b.Q5_K_S-00001-of-00003.gguf", "hf:a/b:Q5_K_S"),
        ("hf:a/b::file=b-IQ4_XS.gguf", "hf:a/b:IQ4_XS"),
        ("hf:a/b::file=b-UD-Q4_K_XL.gguf", "hf:a/b:UD-Q4_K_XL"),
        ("hf:a/b@main::file=UD-Q8_K_XL/b-ud-q8_k_xl-00001-of-00002.gguf", "hf:a/b:UD-Q8_K_XL"),
        ("hf:a/b::file=b-FRAUD-Q8_0.gguf", "hf:a/b:Q8_0"),
        ("hf:a/b::file=mmproj-F16.gguf", None),
        ("hf:a/b::file=q/b-mmproj-f16.gguf", None),
        ("hf:a/b", None),
        ("file:/m/b-Q8_0.gguf", None),
        ("smollm2", None),
    ],
)
def test_how_a_file_is_quantised(reference: str, name: str | None) -> None:
    assert quantised(reference) == name


def test_a_spelling_that_might_mean_either_of_two_means_neither() -> None:
    files = {"one": "one-Q8_0", "two": "two-Q8_0", "three": "two-UD-Q8_0"}
    names = Names(ModelEntry(id=each, reference=f"hf:a/b::file={file}.gguf") for each, file in files.items())
    assert not names.known("hf:a/b:Q8_0")
    assert names.canonical("hf:a/b:UD-Q8_0") == "three"
