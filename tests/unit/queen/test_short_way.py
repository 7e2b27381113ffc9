"""The short way in: a job for which a slot is free is stored with its worker, who is asked meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from rbee.errors import NoCapacity
from rbee.orchestrator_core.queue import Waiting
from rbee.queen.store import jobs
from rbee.queen.store.models import execute
from rbee.wire.jobs import JobQuery, JobState, Placement
from rbee.wire.workers import WorkerState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import Running, running, soon, text_of, words
from tests.unit.queen.test_service import spec


class Held:
    """Jobs are stored, and whoever stored them hears of it when ``let`` is set."""

    def __init__(self, queen: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stored, self.let, self.sought = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._write, self._read = queen.queen.store.write, queen.queen.store.read
        monkeypatch.setattr(queen.queen.store, "write", self._slow)
        monkeypatch.setattr(queen.queen.store, "read", self._seen)

    async def _slow(self, function: Callable[..., Any], *args: Any) -> Any:
        answer = await self._write(function, *args)
        if function is jobs.submit and not self.stored.is_set():
            self.stored.set()
            await self.let.wait()
        return answer

    async def _seen(self, function: Callable[..., Any], *args: Any) -> Any:
        answer = await self._read(function, *args)
        if function is jobs.find and self.stored.is_set():
            self.sought.set()
        return answer


@pytest.fixture
async def worker() -> AsyncIterator[FakeWorker]:
    async with FakeWorker().serve() as served:
        yield served


async def test_others_are_told_when_they_may_start_while_a_job_is_being_stored(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        await queen.client.submit_job(spec(id="measured"))
        await queen.ended("measured")
        worker.pause_at = 1
        held = Held(queen, monkeypatch)
        first = asyncio.create_task(queen.client.submit_job(spec()))
        await held.stored.wait()
        second = await queen.client.submit_job(spec())
        assert (second.state, second.queue_position) == (JobState.QUEUED, 0)
        assert second.predicted_start_ms is not None and second.predicted_start_ms >= 0
        held.let.set()
        assert (await first).state is JobState.DISPATCHED
        worker.pause_at = None
        worker.open.set()
        await queen.ended(second.id)


async def test_what_was_considered_is_what_there_was_before_it(queen: Running, worker: FakeWorker) -> None:
    async with FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await queen.ended(job.id)
        run = next(each for each in (await queen.client.explain_job(job.id)).decisions if each["decision"] == "run")
        assert run["sentence"] == "ran on worker-cpu-0 on blep: it had 1 free slot"
        assert "busy" not in str(run["considered"])


async def test_a_worker_is_asked_before_its_job_is_known_to_be_stored(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        held = Held(queen, monkeypatch)
        asked = asyncio.create_task(queen.client.submit_job(spec()))
        await soon(lambda: worker.requests)
        assert not asked.done()
        held.let.set()
        job = await asked
        assert text_of(await queen.ended(job.id)) == words(5)
        assert [request.id for request in worker.requests] == [job.id]


async def test_a_job_that_is_being_stored_when_the_queen_stops_is_gone_on_with_by_the_next(
    tmp_path: Path, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            worker.pause_at = 1
            held = Held(queen, monkeypatch)
            asked = asyncio.create_task(queen.client.submit_job(spec()))
            await held.stored.wait()
            await queen.queen.stop()
            held.let.set()
            job = await asked
            assert not queen.queen.errands._all
        worker.pause_at = None
        worker.open.set()
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            assert text_of(await queen.ended(job.id)) == words(5)
            assert [request.id for request in worker.requests] == [job.id]
            assert (await queen.client.get_job(job.id)).attempts == 1


@pytest.mark.parametrize("facts", [{}, {"id": "mine"}], ids=["from-a-list", "its-callers-own"])
async def test_a_job_is_cancelled_before_it_is_known_to_be_stored(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str]
) -> None:
    async with FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        worker.pause_at = 1
        held = Held(queen, monkeypatch)
        asked = asyncio.create_task(queen.client.submit_job(spec(**facts)))
        await held.stored.wait()
        (job,) = await queen.client.list_jobs(JobQuery())
        cancelling = asyncio.create_task(queen.client.cancel_job(job.id))
        await held.sought.wait()
        held.let.set()
        await asyncio.gather(asked, cancelling)
        assert (await queen.client.get_job(job.id)).state is JobState.CANCELLED


async def test_a_job_is_read_to_its_end_before_it_is_known_to_be_stored(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        held = Held(queen, monkeypatch)
        asked = asyncio.create_task(queen.client.submit_job(spec(id="mine")))
        await held.stored.wait()
        reading = asyncio.create_task(queen.frames("/v2/tasks/mine/events"))
        await held.sought.wait()
        held.let.set()
        await asked
        assert [frame.event for frame in await reading][-1] == "end"


async def test_a_job_that_does_not_wait_takes_its_turn_all_the_same(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[Waiting] = []
    push = queen.queen.jobs.queue.push
    monkeypatch.setattr(queen.queen.jobs.queue, "push", lambda each, now_s: (came.append(each), push(each, now_s)))
    async with FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await queen.ended(job.id)
        assert job.state is JobState.DISPATCHED
        assert [(each.job, each.again) for each in came] == [(job.id, False)]


async def test_a_newcomer_does_not_take_the_only_place_of_somebody_before_him(queen: Running) -> None:
    async with (
        FakeWorker("worker-cpu-0").serve() as narrow,
        FakeWorker("worker-cpu-1").serve() as wide,
        FakePool("blep", narrow).serve() as blep,
        FakePool("mac", wide).serve() as mac,
    ):
        await queen.hear(blep)
        await queen.hear(mac)
        narrow.pause_at = 1
        running_now = await queen.client.submit_job(spec(placement=Placement(pool="blep")))
        first = await queen.client.submit_job(spec(placement=Placement(pool="blep")))
        dispatcher = queen.queen.dispatcher
        await dispatcher.stop()
        narrow.pause_at = None
        narrow.open.set()
        await queen.ended(running_now.id)
        await soon(lambda: not queen.queen.errands.in_flight)
        second = await queen.client.submit_job(spec())
        assert second.state is JobState.QUEUED
        dispatcher.start()
        await queen.ended(first.id)
        await queen.ended(second.id)
        pools = [(await queen.client.get_job(job.id)).pool for job in (first, second)]
        assert pools == ["blep", "mac"]


async def test_jobs_share_a_connection_and_one_that_was_cut_meanwhile_costs_no_attempt(queen: Running) -> None:
    worker = FakeWorker()
    async with FakePool("blep", worker).serve() as pool:
        async with worker.serve():
            await queen.hear(pool)
            for _ in range(3):
                job = await queen.client.submit_job(spec())
                assert text_of(await queen.ended(job.id)) == words(5)
            lines = queen.queen.pools._lines
            await soon(lambda: len(lines) == 1)
        async with worker.serve():
            pool.states[worker.id] = WorkerState.READY
            await queen.hear(pool)
            job = await queen.client.submit_job(spec())
            assert text_of(await queen.ended(job.id)) == words(5)
            assert (await queen.client.get_job(job.id)).attempts == 1


async def test_a_worker_is_asked_while_its_job_is_stored_and_told_when_it_cannot_be(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        worker.pause_at = 1
        await queen.queen.store.write(execute, "PRAGMA max_page_count = 1")
        with pytest.raises(NoCapacity, match="full"):
            await queen.client.submit_job(spec("x" * 100_000))
        await soon(lambda: worker.cancelled and worker.cancelled == [each.id for each in worker.requests])
        with pytest.raises(NoCapacity, match="full"):
            await queen.client.submit_job(spec("x" * 100_000, id="known-to-its-caller"))
        assert [request.id for request in worker.requests] == worker.cancelled, "that one was never asked"
        await soon(lambda: not queen.queen.errands.in_flight)
        await queen.queen.store.write(execute, "PRAGMA max_page_count = 1000000")
        worker.pause_at = None
        worker.open.set()
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
