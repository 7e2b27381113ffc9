"""Models that rbee.toml declares by their path: there without being imported, and never touched."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbee.adapters.model_store import FileModelStore, open_store
from rbee.config import Model
from rbee.errors import Conflict, InvalidRequest, ModelNotFound, NotPermitted
from rbee.pool_core.catalog import merged
from rbee.pool_core.ports import Body, Offer, RemoteFile
from rbee.wire.catalog import ModelFile
from tests.assets import tiny_gguf
from tests.unit.adapters.downloading import sha256


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    """A folder that is no root."""
    (tmp_path / "farm").mkdir()
    return tmp_path / "farm"


def opened(tmp_path: Path, **models: Model) -> FileModelStore:
    return open_store(tmp_path / "models", [], merged(models))


async def test_a_declared_file_is_a_model_where_it_lies(tmp_path: Path, farm: Path) -> None:
    path = tiny_gguf(farm / "some.gguf")
    store = opened(tmp_path, chat=Model(path=str(path)))
    [model] = [each for each in await store.list() if each.id == "chat"]
    assert (model.paths, model.reference, model.context_tokens) == ((str(path),), f"file:{path}", 512)
    for reference in ("chat", f"file:{path}", str(path)):
        assert await store.find(reference) == model, reference
        assert [event.state async for event in store.download(reference)] == ["done"], reference
    [entry] = [each for each in await store.catalog() if each.id == "chat"]
    assert (entry.present, entry.reference, entry.size_bytes) == (True, f"file:{path}", model.size_bytes)
    assert not (tmp_path / "models").exists(), "looking writes nothing"


async def test_nobody_gets_at_the_file_beside_it(tmp_path: Path, farm: Path) -> None:
    path, beside = tiny_gguf(farm / "some.gguf"), tiny_gguf(farm / "other.gguf")
    store = opened(tmp_path, chat=Model(path=str(path)))
    with pytest.raises(NotPermitted):
        await store.find(str(beside))
    with pytest.raises(NotPermitted):
        await store.import_file(str(beside), "other")
    assert await store.find(f"{farm}/./some.gguf") == await store.find("chat"), "it is the same file"


async def test_it_is_not_rbees_to_delete_import_or_rename(tmp_path: Path, farm: Path) -> None:
    path = tiny_gguf(farm / "some.gguf")
    store = opened(tmp_path, chat=Model(path=str(path)))
    with pytest.raises(Conflict, match=f"chat is declared in rbee.toml, as file:{path}, and is not rbee's to delete"):
        await store.delete("chat")
    (tmp_path / "models").mkdir()
    mine = tiny_gguf(tmp_path / "models/mine.gguf", seed=1)
    with pytest.raises(Conflict, match="declared"):
        await store.import_file(str(mine), "chat")
    with pytest.raises(NotPermitted):  # not even whether it is declared: it is under no root
        await store.import_file(str(path), "again")
    assert path.exists()
    assert await store.find("chat") is not None


async def test_a_file_that_is_declared_stays_when_a_model_of_another_name_goes(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    path = tiny_gguf(tmp_path / "models/some.gguf")
    await opened(tmp_path).import_file(str(path), "before")
    store = opened(tmp_path, chat=Model(path=str(path)))
    with pytest.raises(Conflict, match="is declared in rbee.toml, as file:.*, and is not imported"):
        await store.import_file(str(path), "again")
    await store.delete("before")
    assert [model.id for model in await store.list() if model.id != "smollm2"] == ["chat"]
    assert path.exists()


async def test_what_was_imported_by_that_name_before_is_hidden_and_comes_back(tmp_path: Path, farm: Path) -> None:
    before = opened(tmp_path)
    (tmp_path / "models").mkdir()
    imported = await before.import_file(str(tiny_gguf(tmp_path / "models/old.gguf", seed=1)), "chat")
    path = tiny_gguf(farm / "some.gguf")
    found = await opened(tmp_path, chat=Model(path=str(path))).find("chat")
    assert found is not None
    assert found.paths == (str(path),)
    path.unlink()
    assert await opened(tmp_path, chat=Model(path=str(path))).find("chat") is None
    assert await before.find("chat") == imported


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.unlink(), "is not there"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4096]), "truncated"),
        (lambda path: path.write_bytes(b"no model at all" * 100), "GGUF"),
        (lambda path: (path.unlink(), path.mkdir()), "no regular file"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "some.gguf"),
    ],
    ids=["missing", "cut", "broken", "folder", "loop"],
)
async def test_what_is_wrong_with_a_file_is_said_once_and_stops_nothing_else(
    tmp_path: Path, farm: Path, capsys: pytest.CaptureFixture[str], spoil: object, problem: str
) -> None:
    path, whole = tiny_gguf(farm / "some.gguf"), tiny_gguf(farm / "whole.gguf")
    store = opened(tmp_path, chat=Model(path=str(path)), whole=Model(path=str(whole)))
    spoil(path)  # type: ignore[operator]
    for _ in range(3):
        assert [model.id for model in await store.list() if model.id != "smollm2"] == ["whole"]
    assert capsys.readouterr().err.count("model.declared_unusable") == 1
    absent = await store.absence("chat")
    assert problem in absent.message
    assert "[models.chat]" in absent.hint
    with pytest.raises(ModelNotFound, match="which rbee.toml declares, cannot be used"):
        [event async for event in store.download("chat")]
    verified = await store.verify("chat")
    assert not verified.ok
    assert verified.problem
    assert verified.details["declared"] is True

    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    tiny_gguf(path, seed=3)
    assert (await store.verify("chat")).ok
    assert await store.find("chat") is not None


async def test_a_file_that_may_be_read_again_is_there_again(tmp_path: Path, farm: Path) -> None:
    """A change of its mode leaves no mark on a file."""
    path = tiny_gguf(farm / "some.gguf")
    store = opened(tmp_path, chat=Model(path=str(path)))
    if os.geteuid() == 0:  # whom no mode keeps out; a folder that is a file does
        hidden = farm.rename(tmp_path / "hidden")
        assert await store.find("chat") is None
        hidden.rename(farm)
    else:
        path.chmod(0)
        assert await store.find("chat") is None
        path.chmod(0o644)
    assert await store.find("chat") is not None


async def test_a_split_model_behind_links_is_one_model(tmp_path: Path, farm: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    first = tiny_gguf(farm / "chat.gguf", tensors_a_part=8)
    real = []
    for number, part in enumerate(sorted(farm.iterdir())):
        real.append(part.rename(farm / f"hash{number}-{part.name}"))
        (links / part.name).symlink_to(real[-1])
    store = opened(tmp_path, chat=Model(path=str(links / first.name)))
    model = await store.find("chat")
    assert model is not None
    assert model.paths == tuple(map(str, real))
    assert await store.find(str(links / "chat-00002-of-00003.gguf")) == model
    assert (await store.verify("chat")).ok
    assert [(path, part.name) for path, part in await store.parts("chat")] == [
        (str(path), f"chat-0000{number}-of-00003.gguf") for number, path in enumerate(real, 1)
    ], "who copies it gets names that go together"
    (links / "chat-00003-of-00003.gguf").unlink()
    assert await store.find("chat") is None
    assert "chat-00003-of-00003.gguf is not there" in (await store.absence("chat")).message


async def test_it_is_verified_against_the_sum_that_is_declared(tmp_path: Path, farm: Path) -> None:
    path = tiny_gguf(farm / "some.gguf")
    right = opened(tmp_path, chat=Model(path=str(path), sha256=sha256(path)))
    assert [part.sha256 for _, part in await right.parts("chat")] == [sha256(path)], "its word is enough to offer it"
    assert (await right.verify("chat")).ok
    known = await right.find("chat")
    assert known is not None
    assert known.sha256 == sha256(path)

    wrong = opened(tmp_path, chat=Model(path=str(path), sha256="0" * 64))
    verified = await wrong.verify("chat")
    assert (verified.ok, verified.expected_sha256) == (False, "0" * 64)
    assert "expected 0000" in verified.problem


async def test_what_was_verified_is_known_until_the_file_changes(tmp_path: Path, farm: Path) -> None:
    path = tiny_gguf(farm / "some.gguf")
    store = opened(tmp_path, chat=Model(path=str(path)))
    with pytest.raises(ModelNotFound) as caught:
        await store.parts("chat")
    assert caught.value.hint == "rbee-hive models verify chat"
    await store.verify("chat")
    assert [part.sha256 for _, part in await opened(tmp_path, chat=Model(path=str(path))).parts("chat")]
    assert (await known(store)).sha256 == sha256(path)
    tiny_gguf(path, seed=5)
    assert (await known(store)).sha256 == ""
    assert "chat" not in [model.id for model in await opened(tmp_path).list()], "a declaration that goes leaves nothing"
    other = tiny_gguf(farm / "other.gguf", seed=5)
    assert (await known(opened(tmp_path, chat=Model(path=str(other))))).sha256 == ""


async def known(store: FileModelStore) -> ModelFile:
    found = await store.find("chat")
    assert found is not None
    return found


@dataclass
class Neighbour:
    """FAKE: a pool with a declared model, without HTTP in between; tests/fleet/test_copying.py has all of it."""

    store: FileModelStore
    name: str = "pool mac"

    async def offers(self, wanted: Callable[[ModelFile], bool]) -> Sequence[Offer]:
        there = [model for model in await self.store.list() if wanted(model)]
        return [Offer(model=model, files=await self._files(model), source=self) for model in there]

    async def _files(self, model: ModelFile) -> tuple[RemoteFile, ...]:
        parts = enumerate(await self.store.parts(model.id))
        return tuple(RemoteFile(str(n), "", part.name, part.size_bytes, part.sha256) for n, (_, part) in parts)

    @contextlib.asynccontextmanager
    async def read(self, file: RemoteFile, offset: int) -> AsyncIterator[Body]:
        path, _ = (await self.store.parts("chat"))[int(file.repo)]

        async def pieces() -> AsyncIterator[bytes]:
            yield Path(path).read_bytes()[offset:]

        yield Body(offset, pieces())


async def test_another_pool_copies_it(tmp_path: Path, farm: Path) -> None:
    first = tiny_gguf(farm / "chat.gguf", tensors_a_part=8)
    theirs = opened(tmp_path, chat=Model(path=str(first)))
    await theirs.verify("chat")
    ours = open_store(tmp_path / "ours", [], merged({}), neighbours=Neighbour(theirs))
    async for _ in ours.download("chat"):
        pass
    copied = await known(ours)
    assert copied.paths == tuple(f"{tmp_path}/ours/chat/chat-0000{n}-of-00003.gguf" for n in (1, 2, 3))
    assert copied.reference == f"file:{copied.paths[0]}"
    assert copied.sha256 == (await known(theirs)).sha256


async def test_only_what_is_declared_is_called_so(tmp_path: Path, farm: Path) -> None:
    store = opened(tmp_path, chat=Model(path=str(farm / "some.gguf")))
    with pytest.raises(InvalidRequest, match="files are imported"):
        [event async for event in store.download(str(farm / "other.gguf"))]
    assert isinstance(await store.unfetchable(str(farm / "other.gguf")), InvalidRequest)
    assert "rbee-hive models download other" in (await store.absence("other")).hint


async def test_nobody_can_download_what_is_declared_by_its_path(tmp_path: Path, farm: Path) -> None:
    store = opened(tmp_path, chat=Model(path=str(farm / "gone.gguf")))
    for name in ("chat", f"file:{farm}/gone.gguf", str(farm / "gone.gguf")):
        foreseen = await store.unfetchable(name)
        assert foreseen is not None
        with pytest.raises(ModelNotFound) as refused:
            [event async for event in store.download(name)]
        assert refused.value.message == foreseen.message, name
    assert await store.unfetchable("hf:org/repo") is None
    assert await store.unfetchable("other") is None
