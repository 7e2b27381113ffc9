"""Work whose caller is cancelled, once and again, is done to the end and then taken back."""

import asyncio

import pytest

from rbee.adapters.whole import whole
from rbee.errors import NoManager, NotFound


class Work:
    """Waits until it is let go, and remembers what was done."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.did: list[str] = []
        self._error = error

    async def do(self) -> str:
        self.begun.set()
        await self.go.wait()
        if self._error is not None:
            raise self._error
        self.did.append("done")
        return "done"

    async def undo(self) -> None:
        await asyncio.sleep(0)
        self.did.append("undone")


async def cancelled(work: Work, task: "asyncio.Task[str]") -> None:
    await work.begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nobody_is_waited_for_nor_anything_taken_back_without_a_cancel() -> None:
    work = Work()
    work.go.set()
    assert await whole(work.do(), work.undo) == "done"
    assert work.did == ["done"]


async def test_who_is_cancelled_waits_for_the_end_and_takes_it_back() -> None:
    work = Work()
    await cancelled(work, asyncio.create_task(whole(work.do(), work.undo)))
    assert work.did == ["done", "undone"]


async def test_what_failed_or_has_no_way_back_is_not_taken_back() -> None:
    work, broken = Work(), Work(NoManager("the bus is gone"))
    await cancelled(work, asyncio.create_task(whole(work.do())))
    await cancelled(broken, asyncio.create_task(whole(broken.do(), broken.undo)))
    assert (work.did, broken.did) == (["done"], [])


async def test_what_cannot_be_taken_back_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    work = Work()

    async def undo() -> None:
        raise NotFound("no worker chat")

    await cancelled(work, asyncio.create_task(whole(work.do(), undo)))
    assert "cancelled.not_undone" in capsys.readouterr().err
