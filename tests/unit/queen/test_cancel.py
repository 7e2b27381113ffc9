"""A job that ends before its worker knows: the worker is told as soon as it can be."""

import os
import signal
from pathlib import Path

import pytest

from rbee.queen import errands
from rbee.wire.jobs import JobSpec, JobState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.support.real_worker import real_worker
from tests.unit.queen.conftest import Running, running, soon


def spec(**facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": "hello", "max_tokens": 400, "ignore_eos": True, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize("facts", [{}, {"deadline_ms": 1500}], ids=["cancelled", "too-late"])
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
            if not facts:
                queen.queen.dispatcher.aside(queen.queen.cancel(queen.queen.jobs.live[job.id]), "cancel")
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
