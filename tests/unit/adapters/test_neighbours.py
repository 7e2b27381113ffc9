"""Copying from a FAKE neighbour, who calls its models as it likes; real ones are in tests/fleet/test_copying.py."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbee.adapters.model_store import open_store
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
