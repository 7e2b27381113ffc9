"""Whose turn it is: one after the other, also when somebody gives up waiting."""

import asyncio
from pathlib import Path

import pytest

from rbee.adapters.files import own_lock
from rbee.adapters.turn import FileTurn
from rbee.errors import NotPermitted
from tests.rig.waiting import PATIENCE


async def test_a_second_one_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    waits = asyncio.Event()

    async def second() -> None:
        waits.set()
        async with FileTurn(tmp_path).exclusive():
            order.append("second")

    async with FileTurn(tmp_path).exclusive():
        task = asyncio.create_task(second())
        await waits.wait()
        order.append("first")
    await task
    assert order == ["first", "second"]


async def test_who_gives_up_does_not_keep_it_from_the_next(tmp_path: Path) -> None:
    with own_lock(tmp_path / "sync.lock", wait=True), pytest.raises(TimeoutError):  # as another process would
        async with asyncio.timeout(0.05), FileTurn(tmp_path).exclusive():
            pytest.fail("it was another's")
    async with asyncio.timeout(10 * PATIENCE), FileTurn(tmp_path).exclusive():
        pass


async def test_a_folder_that_is_not_ours_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path / "sync.lock"))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(NotPermitted, match=r"sync\.lock: permission denied"):
        async with FileTurn(tmp_path).exclusive():
            pytest.fail("it was refused")
