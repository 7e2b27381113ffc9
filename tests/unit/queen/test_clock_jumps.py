"""The clock on the wall is set under a queen, by hours and by years: nobody's time is up early, or never."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from rbee.adapters import clocks
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.wire.events import Failure
from rbee.wire.jobs import JobSpec, JobState, Priority
from tests.assets.wall_clock import WallClock
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import SOON_S, Running, eventually, soon, text_of, words
from tests.unit.queen.kills.nursery import Nursery, nursery
from tests.unit.queen.kills.test_kills import speak

HOUR_S, YEAR_S = 3600, 365 * 86_400
jumps = pytest.mark.parametrize("jump_s", [3 * HOUR_S, -3 * HOUR_S, 40 * YEAR_S, -20 * YEAR_S])


def spec(**facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": "hello", "max_tokens": 5, **facts})  # type: ignore[arg-type]


@dataclass
class House:
    """A queen as a process whose wall clock can be set; one fake worker, one slot."""

    directory: Path
    wall: WallClock
    queens: Nursery
    worker: FakeWorker
    client: QueenClient

    async def next_queen(self) -> None:
        """Kill her, and wait until the next one has looked for what is old enough to be erased."""
        await self.queens.kill()
        before = self._kept()
        await self.queens.bear()
        await soon(lambda: self._kept() != before)

    async def ended(self, job: str) -> str:
        return text_of([numbered async for numbered in self.client.job_events(job)])

    async def is_in(self, job: str, state: JobState) -> bool:
        return (await self.client.get_job(job)).state is state

    async def has_begun(self, job: str) -> bool:
        """Say whether it runs; or has ended, which on a busy machine nobody may have seen it do, or it never did."""
        told = await self.client.get_job(job)
        return told.started_ms is not None or told.state.finished

    def _kept(self) -> int:
        with contextlib.closing(sqlite3.connect(self.directory / "queen.sqlite")) as database:
            return int(database.execute("SELECT up_ms FROM clock").fetchone()[0])


@contextlib.asynccontextmanager
async def house(directory: Path, **settings: str) -> AsyncIterator[House]:
    wall = WallClock(directory)
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        nursery(directory, RBEE_QUEEN_POOLS=pool.url, **wall.environ, **settings) as queens,
        HttpClient(queens.url) as http,
    ):
        client = QueenClient(http)
        pool.speak = partial(speak, pool, client)
        await queens.bear()
        yield House(directory, wall, queens, worker, client)


@jumps
async def test_jobs_that_wait_run_or_are_done_do_not_notice(tmp_path: Path, jump_s: int) -> None:
    async with house(tmp_path) as here:
        done = await here.client.submit_job(spec(id="done"))
        assert await here.ended(done.id) == words(5)
        here.worker.pause_at = 3
        for job in (spec(id="runs"), spec(id="batch", priority=Priority.BATCH), spec(id="due", deadline_ms=60_000)):
            await here.client.submit_job(job)
        await eventually(partial(here.is_in, "runs", JobState.RUNNING))
        here.wall.jump(jump_s)
        new = await here.client.submit_job(spec(id="new"))
        assert abs(new.created_ms - here.wall.now_ms()) < 60_000, "a new job has the time on the wall"
        await here.next_queen()
        waiting = [await here.client.get_job(job) for job in ("due", "new", "batch")]
        assert [(job.state, job.queue_position) for job in waiting] == [(JobState.QUEUED, n) for n in range(3)]
        assert all((job.predicted_start_ms or 0) < 60_000 for job in waiting)
        here.worker.pause_at = None
        here.worker.open.set()
        for job in ("runs", "due", "new", "batch", "done"):
            assert await here.ended(job) == words(5)
            told = await here.client.get_job(job)
            assert told.started_ms is not None
            assert told.finished_ms is not None
            assert told.created_ms <= told.started_ms <= told.finished_ms < told.created_ms + 60_000


@jumps
async def test_a_deadline_passes_when_its_time_has_passed(tmp_path: Path, jump_s: int) -> None:
    async with house(tmp_path) as here:
        here.worker.pause_at = 3
        await here.client.submit_job(spec(id="runs", deadline_ms=1500))
        await here.client.submit_job(spec(id="waits", deadline_ms=1500, priority=Priority.BATCH))
        await eventually(partial(here.has_begun, "runs"))
        here.wall.jump(jump_s)
        for job in ("runs", "waits"):
            async with asyncio.timeout(SOON_S):
                *_, (_, end) = [numbered async for numbered in here.client.job_events(job)]
            assert isinstance(end, Failure)
            assert end.code == "timeout"


@jumps
async def test_text_is_erased_when_its_time_has_passed(tmp_path: Path, jump_s: int) -> None:
    async with house(tmp_path, RBEE_QUEEN_RETAIN_TEXT_S="0.01") as here:
        await here.client.submit_job(spec(id="secret"))
        await eventually(partial(here.is_in, "secret", JobState.COMPLETED))
        here.wall.jump(jump_s)
        await here.next_queen()

        async def erased() -> bool:
            return await here.ended("secret") == ""

        await eventually(erased)


async def test_a_clock_that_jumps_forward_and_back_erases_nothing(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
        for jump_s in (YEAR_S, -YEAR_S):
            with monkeypatch.context() as patched:
                patched.setattr(clocks, "wall_ms", partial(_off, clocks.wall_ms, jump_s))
                await queen.queen.sweeper.sweep()
        assert text_of(await queen.ended(job.id)) == words(5)


def _off(wall_ms: object, jump_s: int) -> int:
    assert callable(wall_ms)
    return int(wall_ms()) + jump_s * 1000
