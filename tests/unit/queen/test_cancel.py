"""A job that ends before its worker knows: the worker is told as soon as it can be."""

import asyncio
import os
import signal
import threading
from collections.abc import Collection
from pathlib import Path

import pytest
from sanic import Request
from sanic.response import HTTPResponse

from rbee.errors import NoCapacity
from rbee.queen import errands
from rbee.queen.store import jobs
from rbee.wire.jobs import JobSpec, JobState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.support.real_worker import real_worker
from tests.unit.queen.conftest import Running, running, soon


def spec(**facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": "hello", "max_tokens": 400, "ignore_eos": True, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize("facts", [{}, {"deadline_ms": 60_000}], ids=["cancelled", "too-late"])
async def test_a_job_that_ends_before_the_new_queen_knows_where_its_worker_is(
    tmp_path: Path, facts: dict[str, int]
) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            worker.pause_at = 2
            await queen.hear(pool)
            job = await queen.client.submit_job(spec(**facts))
            await soon(lambda: queen.queen.jobs.live[job.id].tokens == 2)
        async with running(tmp_path / "q") as queen:
            live = queen.queen.jobs.live[job.id]
            if not facts:
                queen.queen.dispatcher.aside(queen.queen.cancel(live), "cancel")
            else:
                live.arrived_s -= 60  # a busy machine may take any time to come here
                queen.queen.dispatcher.deadlines.watch(live)
                queen.queen.jobs.changed.set()
            await soon(lambda: not queen.queen.jobs.live or queen.queen.errands.ending)
            assert worker.cancelled == []
            await queen.hear(pool)
            await soon(lambda: worker.cancelled == [job.id])
            await queen.until(job.id, "failed" if facts else "cancelled")


async def test_a_job_cancelled_while_its_worker_wakes_is_not_begun_for_nobody(
    queen: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the request in its backlog and no reader any more: what follows there is that it was cancelled."""
    monkeypatch.setattr(errands, "CANCEL_S", 0.3)
    async with real_worker(tmp_path) as worker, FakePool("blep", worker.face).serve() as pool:
        os.kill(worker.pid, signal.SIGSTOP)
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(temperature=0))
        await queen.until(job.id, "dispatched")
        await queen.client.cancel_job(job.id)
        assert (await queen.client.get_job(job.id)).state is JobState.CANCELLED
        os.kill(worker.pid, signal.SIGCONT)
        await soon(worker.endings)
        assert [(each["job"], each["stop_reason"]) for each in worker.endings()] == [(job.id, "cancelled")]


async def test_a_job_cancelled_in_the_moment_it_is_given_to_a_worker_leaves_its_slot(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        await queen.client.submit_job(spec())
        waiting = queen.queen.jobs.live[(await queen.client.submit_job(spec())).id]
        queen.queen.errands.begin(waiting, "blep", worker.id, {})
        await queen.queen.cancel(waiting)
        assert waiting.state is JobState.CANCELLED
        assert queen.queen.errands.in_flight == {("blep", worker.id): 1}


class Hesitant(FakeWorker):
    """It has heard what it is asked, and answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begins, self.answers = asyncio.Event(), asyncio.Event()
        self.begins.set()
        self.asked = 0

    async def _infer(self, request: Request) -> None:
        self.asked += 1
        await self.begins.wait()
        await super()._infer(request)

    async def _cancel(self, request: Request, job: str) -> HTTPResponse:
        try:
            return await super()._cancel(request, job)
        finally:
            await self.answers.wait()


class Change:
    """The first change to one of ``states`` is being written until ``let`` is set."""

    def __init__(self, states: Collection[JobState], monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.let = threading.Event(), threading.Event()
        record = jobs.record

        def slow(seq: int, entries: object, moves: object, *rest: object) -> None:
            if any(move.state in states for move in moves):  # type: ignore[attr-defined]
                self.begun.set()
                self.let.wait(30)
            record(seq, entries, moves, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(jobs, "record", slow)


async def test_a_job_cancelled_while_it_is_written_who_has_it_is_not_begun(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Hesitant().serve() as worker, FakePool("blep", worker).serve() as pool:
        assert isinstance(worker, Hesitant)
        worker.pause_at = 1
        job = queen.queen.jobs.live[(await queen.client.submit_job(spec())).id]
        change = Change({JobState.DISPATCHED}, monkeypatch)
        await queen.hear(pool)
        await soon(change.begun.is_set)
        cancelling = asyncio.create_task(queen.queen.cancel(job))
        await soon(lambda: worker.cancelled)  # where it knows nothing of it
        change.let.set()
        await soon(lambda: worker.asked or job.finished)
        worker.answers.set()
        await cancelling
        assert (job.state, worker.asked) == (JobState.CANCELLED, 0)
        await soon(lambda: not queen.queen.errands.in_flight)


async def test_a_job_that_is_overtaken_by_its_end_is_ended_once_it_is_there(queen: Running) -> None:
    async with Hesitant().serve() as worker, FakePool("blep", worker).serve() as pool:
        assert isinstance(worker, Hesitant)
        worker.pause_at = 1
        worker.begins.clear()
        worker.answers.set()
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: worker.asked)
        cancelling = asyncio.create_task(queen.client.cancel_job(job.id))
        await soon(lambda: worker.cancelled)
        worker.begins.set()
        await cancelling
        assert worker.generations[job.id].cancelled
        assert (await queen.client.get_job(job.id)).state is JobState.CANCELLED


async def test_a_job_cancelled_while_it_goes_back_to_its_place_is_given_to_nobody(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "backoff_s", lambda attempt, spread: 0.0)
    async with Hesitant().serve() as worker, FakePool("blep", worker).serve() as pool:
        assert isinstance(worker, Hesitant)
        worker.pause_at = 1
        worker.refusals = [NoCapacity("1 slot is busy")]
        change = Change({JobState.QUEUED, JobState.RETRIED}, monkeypatch)
        await queen.hear(pool)
        job = queen.queen.jobs.live[(await queen.client.submit_job(spec())).id]
        await soon(change.begun.is_set)
        cancelling = asyncio.create_task(queen.queen.cancel(job))
        await soon(lambda: worker.cancelled)
        change.let.set()
        await soon(lambda: worker.requests or job.finished)
        worker.answers.set()
        await cancelling
        assert (job.state, worker.requests) == (JobState.CANCELLED, [])
        await soon(lambda: not queen.queen.errands.in_flight)


async def test_a_job_that_has_ended_while_an_errand_still_has_it_is_not_moved(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        ended = queen.queen.jobs.live.pop(job.id)
        queen.queen.errands.move("blep")
        assert ended.moved is None
        queen.queen.jobs.keep(ended)
