"""What is said of jobs and workers, from what was kept: while they wait, after they ended, after the queen did."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.errors import NotFound, NotPermitted
from rbee.wire.jobs import Priority
from rbee.wire.pools import Device, Need
from rbee.wire.workers import Backend, WorkerState
from tests.fakes.worker_server import GIB, FakePool, FakeWorker
from tests.unit.queen.conftest import ANN, Running, eventually, running, soon
from tests.unit.queen.test_service import spec


async def story(queen: Running, job: str) -> Sequence[Any]:
    return (await queen.client.explain_job(job)).decisions


async def test_a_job_that_never_ran_says_what_it_waited_for(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        first = await queen.client.submit_job(spec())
        await queen.until(first.id, "running")
        late = await queen.client.submit_job(spec(deadline_ms=60_000))
        dropped = await queen.client.submit_job(spec())
        live, dispatcher = queen.queen.jobs.live, queen.queen.dispatcher
        await soon(lambda: all(dispatcher.reasons.waited(live[job.id]) for job in (late, dropped)))
        await queen.client.cancel_job(dropped.id)
        live[late.id].arrived_s -= 60  # a busy machine may take any time to come here
        dispatcher.deadlines.watch(live[late.id])
        queen.queen.jobs.changed.set()
        await queen.ended(late.id)
        for job, decision, sentence in (
            (late, "fail", f"failed: job {late.id} was not done within its deadline of 60000 ms"),
            (dropped, "cancel", "was cancelled before it started"),
        ):
            accepted, ended = await story(queen, job.id)
            assert accepted["sentence"] == "accepted as an interactive job for tiny"
            assert (ended["decision"], ended["sentence"]) == (decision, sentence)
            assert [each["reason"] for each in ended["waited"]] == ["the slot for tiny is busy"]


async def test_one_who_was_cancelled_while_running_and_one_that_was_batch(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(priority=Priority.BATCH))
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        await queen.client.cancel_job(job.id)
        assert [each["sentence"] for each in await story(queen, job.id)] == [
            "accepted as a batch job for tiny",
            "ran on worker-cpu-0 on blep: it had 1 free slot",
            "was cancelled after 3 tokens",
        ]


async def test_what_was_said_is_said_again_after_the_queen_was_restarted(tmp_path: Path) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            done = await queen.client.submit_job(spec(id="done"))
            await queen.ended(done.id)
            worker.pause_at = 1
            await queen.client.submit_job(spec(id="runs"))
            await queen.until("runs", "running")
            await queen.client.submit_job(spec(id="waits"))
            before = await story(queen, "done")
            live = queen.queen.jobs.live["waits"]
            await queen.queen.store.write(_made_older, live.seq)
        async with running(tmp_path / "q") as queen:
            assert list(await story(queen, "done")) == list(before)
            waits = await story(queen, "waits")
            assert waits[0]["decision"] == "accept"
            assert (waits[1]["decision"], waits[1]["sentence"]) == ("wait", "the slot for tiny is busy")
            await queen.hear(pool)
            worker.pause_at = None
            worker.open.set()
            await queen.ended("waits")
            ran = (await story(queen, "waits"))[1]
            assert ran["decision"] == "run" and ran["waited"][0]["reason"] == "the slot for tiny is busy"


def _made_older(seq: int) -> None:
    from rbee.queen.store.models import Job

    Job.update(created_ms=Job.created_ms - 60_000).where(Job.seq == seq).execute()


async def test_who_was_idle_and_how_long_a_job_takes_is_known_after_a_restart(tmp_path: Path) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            await queen.client.submit_job(spec(id="measured", priority=Priority.BATCH))
            await queen.ended("measured")
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            (told,) = await queen.client.explain_workers()
            assert told.idle_ms is not None and told.idle_ms < 60_000
            assert queen.queen.errands.used["blep", worker.id].batch
            worker.pause_at = 1
            await queen.client.submit_job(spec(id="runs"))
            await queen.until("runs", "running")
            assert (await queen.client.submit_job(spec())).predicted_start_ms is not None


async def test_others_jobs_are_no_ones_business(tmp_path: Path) -> None:
    callers = {"ann": "sha256:" + hashlib.sha256(ANN.encode()).hexdigest()}
    async with running(tmp_path / "q", callers=callers) as queen:
        mine = await queen.client.submit_job(spec())
        async with HttpClient(queen.url, token=ANN, source="queen") as http:
            ann = QueenClient(http)
            with pytest.raises(NotFound, match=f"no job {mine.id}"):
                await ann.explain_job(mine.id)
            with pytest.raises(NotPermitted):
                await ann.explain_workers()
            hers = await ann.submit_job(spec())
            told = await ann.explain_job(hers.id)
            assert told.decisions[0]["sentence"] == "accepted as an interactive job of ann for tiny"


async def test_a_worker_that_is_gone_is_remembered_and_the_job_it_went_for(queen: Running) -> None:
    async with (
        FakeWorker(model="other").serve() as idle,
        FakeWorker("worker-cpu-1").serve() as made,
        FakePool("blep", idle, models=("tiny", "other")).serve() as pool,
    ):
        full = Device(backends=(Backend.CPU,), total_bytes=8 * GIB, free_bytes=2 * GIB)
        pool.facts = {idle.id: {"need_bytes": 6 * GIB}}
        pool.devices = (full,)
        pool.needs = (Need(model="tiny", backend=Backend.CPU, bytes=5 * GIB, ctx=512),)
        pool.to_spawn = [made]
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert job.reason == "making room for tiny on blep: worker-cpu-0 has to go, which had no job yet"
        await soon(lambda: pool.states.get(idle.id) is WorkerState.ASLEEP)
        pool.devices = (dataclasses.replace(full, free_bytes=8 * GIB),)
        pool.gone.add(idle.id)
        await queen.hear(pool)
        await soon(lambda: pool.spawned)
        await queen.hear(pool)
        await queen.ended(job.id)

        async def noted() -> bool:
            return any(each["decision"] == "spawn" for each in await story(queen, job.id))

        await eventually(noted)
        told = await story(queen, job.id)
        assert [each["decision"] for each in told] == ["accept", "evict", "spawn", "run", "end"]
        assert told[1]["sentence"] == "worker-cpu-0 on blep was evicted for tiny: it had no job yet"
        assert told[2]["sentence"].endswith(": worker-cpu-1")
        known = {each.worker: each for each in await queen.client.explain_workers()}
        assert (known[idle.id].state, known[idle.id].sentence) == (WorkerState.STOPPED, "is there no more")
        assert [each.job for each in known[idle.id].decisions] == [job.id]
