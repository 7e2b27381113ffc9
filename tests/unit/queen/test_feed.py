"""Readers of a job that has just ended, when what it said is erased."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from rbee.errors import NotFound
from rbee.queen import streams
from rbee.queen.feed import Feed
from rbee.queen.newcomer import Asker
from rbee.queen.store import retention
from rbee.queen.store.events import Entry
from rbee.wire.jobs import JobSpec
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import running, soon


def entry(number: int, kind: str = "token") -> Entry:
    return Entry(number, kind, "{}")


async def test_one_who_lags_behind_is_told_that_what_he_reads_was_erased() -> None:
    pages: list[Sequence[Entry]] = [[entry(1, "queued"), entry(2, "started"), entry(3)], [entry(9, "end")]]

    async def page(after: int) -> Sequence[Entry]:
        return pages.pop(0)

    feed = Feed(9, page)
    feed.publish([entry(9, "end")], finished=True)
    read = []
    with pytest.raises(NotFound, match="erased while it was read"):
        async for each in feed.read(0):
            read.append(each.id)
    assert read == [1, 2, 3]


@pytest.mark.parametrize(("erased", "read"), [(True, 500), (False, 702)])
async def test_of_a_job_that_has_ended_nobody_is_told_a_text_with_a_hole(
    tmp_path: Path, erased: bool, read: int
) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        job = await queen.client.submit_job(JobSpec(model="tiny", prompt="hi", max_tokens=700))
        await queen.ended(job.id)
        stored = await queen.queen.find(job.id, Asker())
        seen = [entry async for entry in queen.queen.entries(stored, 0)]
        await soon(lambda: job.id not in queen.queen.jobs.live)

        async def slowly() -> AsyncIterator[Entry]:
            async for each in queen.queen.entries(stored, 0):
                if each.id == 500 and erased:
                    await queen.queen.store.write(retention.erase, stored.seq, 1)
                yield each

        frames = [frame async for frame in streams.frames(slowly())]
        assert len(seen) == 703 and [frame.event for frame in frames[:2]] == ["queued", "started"]
        assert len(frames) == read + 1
        last = frames[-1]
        assert (last.event, last.id) == (("error", "500") if erased else ("end", "703"))
        if erased:
            left = [frame.event async for frame in streams.frames(queen.queen.entries(stored, 0))]
            assert left == ["queued", "started", "end"]
