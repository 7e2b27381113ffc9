"""Copying from a FAKE neighbour, who calls its models as it likes; real ones are in tests/fleet/test_copying.py."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbee.adapters.model_store import open_store
from rbee.client.http import HttpClient
from rbee.client.neighbours import QueensNeighbours
from rbee.errors import Conflict, ModelNotFound
from rbee.pool_core.catalog import HubReference, id_for
from rbee.pool_core.ports import Body, Offer, RemoteFile
from rbee.wire.catalog import ModelFile
from tests.assets import tiny_gguf
from tests.unit.adapters.downloading import CATALOG, sha256

REFERENCE = "hf:a/b::file=x.gguf"


@dataclass
class Neighbour:
    """Has one model, ``REFERENCE``, and calls it ``name``."""

    name: str
    file: Path

    async def offers(self, wanted: Callable[[ModelFile], bool]) -> Sequence[Offer]:
        size, digest = self.file.stat().st_size, sha256(self.file)
        model = ModelFile(id=self.name, reference=REFERENCE, paths=("/there/x.gguf",), size_bytes=size, sha256=digest)
        part = RemoteFile("mac/0", "", "x.gguf", size, digest)
        return [Offer(model=model, files=(part,), source=Bytes(self.file))] if wanted(model) else []


@dataclass
class Bytes:
    file: Path
    name: str = "pool mac"

    @contextlib.asynccontextmanager
    async def read(self, _: RemoteFile, offset: int) -> AsyncIterator[Body]:
        async def pieces() -> AsyncIterator[bytes]:
            yield self.file.read_bytes()[offset:]

        yield Body(offset, pieces())


async def test_one_model_has_one_name_in_the_house(tmp_path: Path) -> None:
    neighbour = Neighbour("x-0a1b2c", tiny_gguf(tmp_path / "x.gguf", seed=1))
    store = open_store(tmp_path / "models", [], CATALOG, neighbours=neighbour)
    async for _ in store.download(REFERENCE):
        pass
    copied = await store.find(REFERENCE)
    assert copied is not None
    assert copied.id == "x-0a1b2c"


@pytest.mark.parametrize("name", ["my", "../../evil", "/etc/evil", "tiny", "tiniest"])
async def test_a_neighbours_name_for_a_model_is_not_ours(tmp_path: Path, name: str) -> None:
    models = tmp_path / "deep" / "models"
    models.mkdir(parents=True)
    neighbour = Neighbour(name, tiny_gguf(tmp_path / "x.gguf", seed=1))
    store = open_store(models, [], CATALOG, neighbours=neighbour)
    mine = await store.import_file(str(tiny_gguf(models / "other.gguf")), "my")

    async for _ in store.download(REFERENCE):
        pass

    own = id_for(HubReference(repo="a/b", file="x.gguf"))
    assert await store.find("my") == mine
    assert Path(mine.paths[0]).exists()
    copied = await store.find(REFERENCE)
    assert copied is not None
    assert (copied.id, copied.paths) == (own, (str(models / own / "x.gguf"),))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "x.gguf"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["models"]


@dataclass
class Neighbours:
    """Several, each with an imported model ``mine`` of its own bytes."""

    files: Sequence[Path]
    sums: bool = True

    async def offers(self, wanted: Callable[[ModelFile], bool]) -> Sequence[Offer]:
        return [self._offer(n, file) for n, file in enumerate(self.files) if wanted(self._model(file))]

    def _model(self, file: Path) -> ModelFile:
        size = file.stat().st_size
        return ModelFile(
            id="mine", reference=f"file:/there/{file.name}", paths=(f"/there/{file.name}",), size_bytes=size
        )

    def _offer(self, n: int, file: Path) -> Offer:
        digest = sha256(file) if self.sums else ""
        part = RemoteFile(f"pool-{n}/0", "", file.name, file.stat().st_size, digest)
        return Offer(model=self._model(file), files=(part,), source=Bytes(file, name=f"pool {n}"))


async def test_an_imported_model_is_copied_by_its_name(tmp_path: Path) -> None:
    file = tiny_gguf(tmp_path / "x.gguf", seed=1)
    models = tmp_path / "models"
    store = open_store(models, [], CATALOG, neighbours=Neighbours([file]))
    events = [event async for event in store.download("mine")]
    assert events[-1].model is not None
    there = str(models / "mine" / "x.gguf")
    assert (events[-1].model.id, events[-1].model.paths) == ("mine", (there,))
    assert events[-1].model.reference == f"file:{there}"
    assert (await store.verify("mine")).ok
    await store.delete("mine")
    assert await store.find("mine") is None
    assert not Path(there).exists()


async def test_one_name_for_different_files_is_not_guessed_at(tmp_path: Path) -> None:
    files = [tiny_gguf(tmp_path / f"{n}.gguf", seed=n) for n in (1, 2)]
    store = open_store(tmp_path / "models", [], CATALOG, neighbours=Neighbours(files))
    with pytest.raises(Conflict, match="mine is not the same model everywhere: pool 0 .*, pool 1 ") as raised:
        _ = [event async for event in store.download("mine")]
    assert "rbee-hive models import PATH --id mine" in raised.value.hint
    assert await store.list() == ()


async def test_the_name_of_nothing_anywhere(tmp_path: Path) -> None:
    nobody = Neighbours([tiny_gguf(tmp_path / "1.gguf")], sums=False)
    for neighbours in (None, nobody):
        store = open_store(tmp_path / "models", [], CATALOG, neighbours=neighbours)
        with pytest.raises(ModelNotFound, match="no model mine in the catalog, nor at another pool"):
            _ = [event async for event in store.download("mine")]


async def test_a_queen_who_does_not_answer_is_no_word_on_what_other_pools_have(tmp_path: Path) -> None:
    alone = QueensNeighbours(
        queen="http://127.0.0.1:1", own_id="blep", connect=lambda url, name: HttpClient(url, source=name)
    )
    store = open_store(tmp_path / "models", [], CATALOG, neighbours=alone)
    said = "no model mine in the catalog, and of other pools nothing is known: queen at .* nothing listens there"
    with pytest.raises(ModelNotFound, match=said):
        _ = [event async for event in store.download("mine")]
