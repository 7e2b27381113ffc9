"""Several streams as one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from rbee.daemon.together import together
from rbee.errors import RbeeError, WorkerLost
from tests.rig.waiting import PATIENCE


class Source:
    """Says numbers up to ``count``; knows whether it was closed."""

    def __init__(self, count: int, *, fails: Exception | None = None) -> None:
        self.count, self.fails = count, fails
        self.begins, self.said, self.closed = asyncio.Event(), 0, asyncio.Event()
        self.begins.set()

    async def items(self) -> AsyncIterator[int]:
        try:
            await self.begins.wait()
            while self.said < self.count:
                self.said += 1
                yield self.said
            if self.fails is not None:
                raise self.fails
        finally:
            self.closed.set()


async def test_all_is_said_each_in_its_order() -> None:
    told = [found async for found in together([Source(3).items(), Source(1).items(), Source(0).items()])]
    assert [item for place, item in told if place == 0] == [1, 2, 3]
    assert [item for place, item in told if place == 1] == [1]
    assert len(told) == 4


async def test_nothing_is_said_before_all_have_begun() -> None:
    early, late = Source(2), Source(1)
    late.begins.clear()
    first = asyncio.ensure_future(anext(together([early.items(), late.items()])))
    await asyncio.sleep(0)
    async with asyncio.timeout(5 * PATIENCE):
        await early.closed.wait()
    assert not first.done()
    late.begins.set()
    assert (await first)[0] in (0, 1)


@pytest.mark.parametrize("count", [0, 1, 500])
async def test_one_that_fails_ends_the_others(count: int) -> None:
    endless, failing = Source(1_000_000), Source(count, fails=WorkerLost("gone"))
    with pytest.raises(WorkerLost, match="gone"):
        async for _ in together([endless.items(), failing.items()]):
            pass
    assert endless.closed.is_set()


async def test_a_bug_in_one_is_told_as_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RbeeError, match="failed inside"):
        async for _ in together([Source(1).items(), Source(1, fails=KeyError("what somebody asked")).items()]):
            pass
    said = capsys.readouterr().err
    assert "together.failed error=KeyError" in said
    assert "what somebody asked" not in said


@pytest.mark.parametrize("others", [0, 1])
async def test_who_stops_reading_closes_all(others: int) -> None:
    sources = [Source(1_000_000) for _ in range(1 + others)]
    async with contextlib.aclosing(together([source.items() for source in sources])) as told:
        await anext(told)
    assert all(source.closed.is_set() for source in sources)
    assert all(source.said < 200 for source in sources), "none runs far ahead of its reader"
