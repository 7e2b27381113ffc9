"""Readers of a job that has just ended, when what it said is erased."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from rbee.errors import NotFound
from rbee.queen import streams, sweeper
from rbee.queen.feed import Feed
from rbee.queen.newcomer import Asker
from rbee.queen.store import events, jobs, retention
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Move
from rbee.wire.jobs import JobSpec, JobState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import Running, running, soon, text_of, words


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


async def test_who_has_some_of_a_text_that_was_erased_is_told_so(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(JobSpec(model="tiny", prompt="hi", max_tokens=5))
        await queen.ended(job.id)
        stored = await queen.queen.find(job.id, Asker())
        await soon(lambda: job.id not in queen.queen.jobs.live)
        await queen.queen.store.write(retention.erase, stored.seq, 1)
        with pytest.raises(NotFound, match="erased while it was read"):
            await queen.frames(job.events_url, after=4)
        assert [frame.event for frame in await queen.frames(job.events_url, after=7)] == ["end"]
        assert await queen.frames(job.events_url, after=8) == []


async def test_a_job_that_has_just_ended_keeps_its_text_for_whoever_comes_to_read_it(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(JobSpec(model="tiny", prompt="hi", max_tokens=5))
        await soon(lambda: not queen.queen.jobs.live)
        queen.queen.sweeper.retain_text_s = 0
        for pause_s, left in ((60.0, words(5)), (0.0, "")):
            monkeypatch.setattr(sweeper, "SOON_S", pause_s)
            await queen.queen.sweeper.sweep()
            assert text_of(await queen.ended(job.id)) == left


async def test_the_text_of_a_job_whose_end_is_written_and_not_told_yet_is_kept(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = queen.queen.jobs.live[(await queen.client.submit_job(JobSpec(model="tiny", prompt="hi"))).id]
        await soon(lambda: job.tokens == 3)
        end = Move(JobState.COMPLETED, {"finished_ms": job.at_ms() - 5000})
        await queen.queen.store.write(jobs.record, job.seq, [], [end])
        queen.queen.sweeper.retain_text_s = 1
        await queen.queen.sweeper.sweep()
        assert len(await queen.queen.store.read(events.page, job.seq, 0)) == 5
