"""The store on real SQLite files: what every database promises, and what only a file can."""

import errno
import os
import stat
from pathlib import Path

import pytest

from rbee.errors import ConfigInvalid, Conflict, NoCapacity
from rbee.queen.store import jobs, retention
from rbee.queen.store.models import execute
from rbee.queen.store.store import Store
from tests.unit.queen.store.promises import *  # noqa: F403
from tests.unit.queen.store.promises import QUEUED, new, run_to_end


def everything(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


@pytest.fixture
def where(tmp_path: Path) -> str:
    return str(tmp_path / "queen.sqlite")


async def test_erased_text_is_in_no_file(store: Store, tmp_path: Path) -> None:
    seq = (await store.write(jobs.submit, new(prompt="the launch code"), QUEUED)).seq
    await run_to_end(store, seq)
    assert await store.write(retention.erase_text, 1300, 1300) == 1
    await store.checkpoint()
    content = everything(tmp_path)
    assert b"launch code" not in content
    assert b"secret" not in content


async def test_the_files_are_private(store: Store, tmp_path: Path) -> None:
    await store.write(jobs.submit, new(), QUEUED)
    assert modes(tmp_path) == {0o600}


async def test_a_second_queen_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="another queen uses the database") as refused:
        Store(tmp_path / "queen.sqlite")
    assert refused.value.exit_code == os.EX_CANTCREAT


async def test_acceptance_waits_for_the_disk_and_events_do_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def watched(opened: int) -> None:
        synced.append(Path(f"/proc/self/fd/{opened}").readlink().name)
        sync(opened)

    monkeypatch.setattr(os, "fsync", watched)
    await store.write(jobs.submit, new("job-1"), QUEUED)
    assert synced == []
    await store.write_durably(jobs.submit, new("job-2"), QUEUED)
    assert synced[-1] == "queen.sqlite-wal"


async def test_a_disk_that_does_not_take_it_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(NoCapacity, match="Input/output error"):
        await store.write_durably(jobs.submit, new(), QUEUED)


async def test_a_full_disk_is_an_error_that_heals(store: Store, tmp_path: Path) -> None:
    def limit(pages: int) -> None:
        execute(f"PRAGMA max_page_count = {pages}")

    await store.write(limit, 1)
    for _ in range(3):
        with pytest.raises(NoCapacity, match="full") as caught:
            await store.write_durably(jobs.submit, new(prompt="x" * 500_000), QUEUED)
    assert str(tmp_path) in caught.value.hint
    assert store.trouble() == f"database or disk is full: {tmp_path}/queen.sqlite"
    assert await store.read(jobs.find, "job-1") is None
    await store.write(limit, 1 << 30)
    assert (await store.write_durably(jobs.submit, new(), QUEUED)).fresh
    assert store.trouble() is None


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "queen.sqlite"
    file.write_bytes(b"this is a letter to my aunt" * 100)
    with pytest.raises(ConfigInvalid, match="cannot be used"):
        Store(file)
    assert file.read_bytes().startswith(b"this is a letter")
