"""A conversation goes on after a sleep without being read again; and only where what was kept means anything."""

import asyncio
import os
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbee.llm_worker.argv import Options
from rbee.llm_worker.keeping import Keeper
from rbee.llm_worker.leaving import OwnNotifier
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.worker import make_engine
from rbee.pool_core.disk import SPARE_BYTES
from tests.unit.llm_worker.asking import end, run, text, until
from tests.unit.llm_worker.conftest import Serve, Worker, options

LONG, LATE = "a" * 200, "b" * 200
Make = Callable[..., ModelEngine]


def sleepless(options_: Options, folder: Path, kind: str = "tiny") -> ModelEngine:
    engine = make_engine(options_, keeper=Keeper(folder, [kind]))
    engine.load(lambda _: None)
    return engine


async def kept(path: Path, folder: Path) -> list[Path]:
    """Return the files of a worker that has read something and sleeps."""
    engine = sleepless(options(path), folder)
    await run(engine, prompt=LONG, max_tokens=4)
    engine.keep()
    engine.close()
    return sorted(folder.iterdir())


async def slept(path: Path, folder: Path, *, wake: str = "tiny", slots: int = 2) -> tuple[int, str]:
    """Return what a second turn after a sleep did not read, and what it said."""
    engine = sleepless(options(path, slots=2), folder)
    await run(engine, prompt=LONG, max_tokens=4, temperature=0)
    engine.keep()
    engine.close()
    woken = sleepless(options(path, slots=slots), folder, wake)
    second = await run(woken, prompt=LONG + "b", max_tokens=12, temperature=0)
    woken.close()
    return end(second).tokens_cached, text(second)


async def test_a_conversation_is_warm_after_a_sleep(tiny: Path, tmp_path: Path, engine_of: Make) -> None:
    cached, said = await slept(tiny, tmp_path)
    assert cached > len(LONG)
    assert said == text(await run(engine_of(), prompt=LONG + "b", max_tokens=12, temperature=0))


async def test_what_was_kept_is_gone_once_it_was_used(tiny: Path, tmp_path: Path) -> None:
    await slept(tiny, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wake", ["another model", ""])
async def test_what_another_kind_kept_is_not_used_and_removed(tiny: Path, tmp_path: Path, wake: str) -> None:
    assert (await slept(tiny, tmp_path, wake=wake))[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["cut", "note", "gone"])
async def test_what_is_damaged_is_not_used(tiny: Path, tmp_path: Path, harm: str) -> None:
    engine = sleepless(options(tiny), tmp_path)
    before = text(await run(engine, prompt=LONG, max_tokens=6, temperature=0))
    engine.keep()
    engine.close()
    (file,) = tmp_path.glob("*.bin")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif harm == "note":
        (tmp_path / "slots.json").write_text('{"kind": 5}')
    else:
        file.unlink()
    woken = sleepless(options(tiny), tmp_path)
    assert list(tmp_path.iterdir()) == []
    after = await run(woken, prompt=LONG, max_tokens=6, temperature=0)
    woken.close()
    assert (end(after).tokens_cached, text(after)) == (0, before)


async def test_what_was_kept_before_and_is_known_no_more_is_not_kept_on(tiny: Path, tmp_path: Path) -> None:
    engine = sleepless(options(tiny), tmp_path)
    await run(engine, prompt=LONG, max_tokens=4)
    engine.keep()
    assert {file.name for file in tmp_path.iterdir()} == {"slots.json", "slot-0.bin"}
    await run(engine, prompt="hi", max_tokens=4)
    engine.keep()
    engine.close()
    assert list(tmp_path.iterdir()) == []


async def test_short_conversations_and_folders_that_are_not_there_keep_nothing(tiny: Path, tmp_path: Path) -> None:
    engine = sleepless(options(tiny), tmp_path)
    await run(engine, prompt="hi", max_tokens=4)
    engine.keep()
    engine.close()
    assert list(tmp_path.iterdir()) == []
    lost = sleepless(options(tiny), tmp_path / "nowhere")
    await run(lost, prompt=LONG, max_tokens=4)
    lost.keep()
    lost.close()


async def test_what_was_kept_is_off_the_disk_before_the_model_is_loaded(tiny: Path, tmp_path: Path) -> None:
    """So that it does not lie there while a worker loads, or fails to, again and again."""
    await kept(tiny, tmp_path)
    keeper = Keeper(tmp_path, ["tiny"])
    assert list(tmp_path.iterdir()) == []
    woken = make_engine(options(tiny), keeper=keeper)
    woken.load(lambda _: None)
    assert end(await run(woken, prompt=LONG, max_tokens=4)).tokens_cached > 0
    woken.close()


@pytest.mark.parametrize("room", [20_000, 1000])
async def test_a_disk_that_is_full_half_way_keeps_nothing_and_is_given_its_room_back(
    tiny: Path, tmp_path: Path, room: int
) -> None:
    """FAKE: the disk, by a limit on the size of files."""
    whole = (await kept(tiny, tmp_path))[0].stat().st_size
    assert whole > room
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        assert await kept(tiny, tmp_path) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_what_came_to_the_disk_only_in_part_is_not_kept(tiny: Path, tmp_path: Path) -> None:
    """llama.cpp reports no error where the disk is full when it closes the file."""
    engine = sleepless(options(tiny), tmp_path)
    await run(engine, prompt=LONG, max_tokens=4)
    (tmp_path / "slot-0.bin").symlink_to("/dev/full")
    engine.keep()
    engine.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_note_that_cannot_be_written_makes_what_was_saved_useless(tiny: Path, tmp_path: Path) -> None:
    engine = sleepless(options(tiny), tmp_path)
    await run(engine, prompt=LONG, max_tokens=4)
    (tmp_path / "slots.json").symlink_to("/dev/full")
    engine.keep()
    engine.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("disk_bytes", "spare_bytes"), [(1 << 40, SPARE_BYTES), (20 << 20, 1 << 20)])
async def test_also_the_first_slot_has_to_leave_room_for_others(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_bytes: int, spare_bytes: int
) -> None:
    """FAKE: how much room there is."""
    whole = (await kept(tiny, tmp_path))[0].stat().st_size

    def free(room: int) -> None:
        disk = SimpleNamespace(f_frsize=1, f_blocks=disk_bytes, f_bavail=room)
        monkeypatch.setattr(os, "statvfs", lambda _: disk)

    free(spare_bytes + whole // 2)
    assert await kept(tiny, tmp_path) == []
    free(spare_bytes + whole)
    assert len(await kept(tiny, tmp_path)) == 2


async def ask(worker: Worker, prompt: str) -> None:
    async with worker.http.post("/v1/inference", json={"prompt": prompt, "max_tokens": 4}) as response:
        assert response.status == 200
        await response.read()


async def go(worker: Worker, how: str) -> None:
    """Let it go, and wait until it wants to."""
    before = len(worker.stops)
    async with worker.http.post(how) as response:
        assert response.status == 204
    await until(lambda: len(worker.stops) > before)


async def test_who_comes_while_it_falls_asleep_is_served_with_nothing_on_disk_and_kept_as_well(
    tiny: Path, tmp_path: Path, serve: Serve
) -> None:
    engine = make_engine(options(tiny, slots=2), keeper=Keeper(tmp_path, ["tiny"]))
    async with serve(engine=engine) as worker:
        await ask(worker, LONG)
        await go(worker, "/v1/sleep")
        await ask(worker, LATE)
        assert list(tmp_path.iterdir()) == []
    woken = sleepless(options(tiny, slots=2), tmp_path)
    assert [end(await run(woken, prompt=prompt, max_tokens=4)).tokens_cached > 100 for prompt in (LONG, LATE)] == [
        True,
        True,
    ]
    woken.close()


async def test_who_drains_keeps_nothing_also_if_it_was_falling_asleep(tiny: Path, tmp_path: Path, serve: Serve) -> None:
    engine = make_engine(options(tiny), keeper=Keeper(tmp_path, ["tiny"]))
    async with serve(engine=engine) as worker:
        await ask(worker, LONG)
        await go(worker, "/v1/sleep")
        await go(worker, "/v1/drain")
    assert list(tmp_path.iterdir()) == []


def counted() -> tuple[list[bool], OwnNotifier]:
    """Return a notifier, and where it notes that it feeds the watchdog."""
    beats: list[bool] = []

    class Counting(OwnNotifier):
        def watchdog(self) -> None:
            beats.append(True)

    return beats, Counting(None, watchdog_s=0.01)


async def test_the_watchdog_is_fed_while_a_slow_disk_is_written_to() -> None:
    beats, notifier = counted()
    async with notifier.beating(lambda: 60.0):
        await until(lambda: len(beats) > 2)


async def test_a_disk_that_hangs_keeps_no_worker_for_ever() -> None:
    beats, notifier = counted()
    async with asyncio.timeout(10):
        # It comes back, though nobody ends it; how many beats there are within a time a busy machine decides.
        await notifier._beat(lambda: 0.05 if len(beats) > 2 else 60.0)
    assert len(beats) > 2
