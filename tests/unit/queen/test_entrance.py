"""Who is let in, and what he is told on the way."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbee.errors import (
    BackendUnavailable,
    ContextTooLong,
    DeadlineUnmet,
    InvalidRequest,
    ModelNotFound,
    NoCapacity,
    NotFound,
    QueueFull,
)
from rbee.queen.job import Job
from rbee.queen.newcomer import Asker
from rbee.queen.store import jobs
from rbee.queen.store.models import execute
from rbee.wire.catalog import ModelKind
from rbee.wire.events import End, Failure, StopReason, Vector
from rbee.wire.jobs import JobQuery, JobSpec, JobStatus, Placement, Priority, Work
from rbee.wire.pools import Need
from rbee.wire.workers import Backend, WorkerState
from tests.fakes.worker_server import GIB, FakePool, FakeWorker
from tests.unit.queen.conftest import Running, eventually, running, text_of, words
from tests.unit.queen.test_service import spec


def texts(**wanted: Any) -> JobSpec:
    return JobSpec(**{"model": "tiny", "work": Work.EMBED, "inputs": ("a" * 50,), **wanted})


async def test_a_prompt_that_has_no_room_is_refused_before_it_is_accepted(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.ctx = 512
        await queen.hear(pool)
        with pytest.raises(ContextTooLong) as refused:
            await queen.client.submit_job(spec("word " * 600))
        assert refused.value.details == {"prompt_tokens": 600, "context_tokens": 512}
        assert await queen.client.list_jobs(JobQuery()) == ()
        many_bytes = await queen.client.submit_job(spec("long-word-of-a-few-bytes " * 400))
        assert text_of(await queen.ended(many_bytes.id)) == words(5)
        counted = worker.counted
        await queen.client.submit_job(spec("short"))
        assert worker.counted == counted, "who surely fits is not counted"


async def test_a_schema_that_is_too_large_is_refused_before_it_is_accepted(queen: Running) -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(257)}}
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        with pytest.raises(InvalidRequest) as refused:
            await queen.client.submit_job(spec(schema=wide))
        assert refused.value.details["fields"] == [
            {"field": "schema", "problem": "has 257 properties in one object, expected at most 256"}
        ]
        assert "docs/openai.md" in refused.value.hint
        assert await queen.client.list_jobs(JobQuery()) == ()


async def test_a_full_queue_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    async with running(tmp_path / "q", queue_capacity=2) as queen:
        for _ in range(2):
            await queen.client.submit_job(spec())
        with pytest.raises(QueueFull) as refused:
            await queen.client.submit_job(spec())
        assert refused.value.details["retry_after_s"] >= 1


async def test_drop_lru_gives_up_the_oldest_batch_job(tmp_path: Path) -> None:
    async with running(tmp_path / "q", queue_capacity=2, queue_policy="drop-lru") as queen:
        oldest = await queen.client.submit_job(spec(priority=Priority.BATCH))
        await queen.client.submit_job(spec(priority=Priority.BATCH))
        await queen.client.submit_job(spec())
        events = await queen.ended(oldest.id)
        assert isinstance(events[-1][1], Failure) and events[-1][1].code == "queue_full"
        assert events[-1][1].message.startswith(f"job {oldest.id} was given up for a newer one")


async def test_what_no_pool_can_do_is_refused_at_once(queen: Running) -> None:
    async with FakePool("blep").serve() as pool:
        await queen.hear(pool)
        with pytest.raises(ModelNotFound, match="no pool has a model nonsense"):
            await queen.client.submit_job(spec(model="nonsense"))
        with pytest.raises(BackendUnavailable) as refused:
            await queen.client.submit_job(spec(placement=Placement(backend="cuda")))
        assert refused.value.details["available"] == ["cpu"]
        with pytest.raises(NotFound, match="no pool mac; there are blep"):
            await queen.client.submit_job(spec(placement=Placement(pool="mac")))
        assert await queen.client.list_jobs(JobQuery()) == ()


async def burst(queen: Running, count: int, **facts: object) -> list[JobStatus | QueueFull]:
    async def one() -> JobStatus | QueueFull:
        try:
            return await queen.client.submit_job(spec(**facts))
        except QueueFull as full:
            return full

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_a_burst_counts_itself(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q", queue_capacity=10) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        worker.pause_at = 1
        await queen.hear(pool)
        answers = await burst(queen, 50)
        accepted = [each for each in answers if isinstance(each, JobStatus)]
        assert 10 <= len(accepted) <= 11, "one runs, ten wait"
        assert len({each.queue_position for each in accepted}) >= 10, "each has a place of its own"
        full = next(each for each in answers if isinstance(each, QueueFull))
        assert full.message == "the queue holds 10 jobs, its capacity is 10"
        assert full.details["retry_after_s"] >= 1
        worker.pause_at = None
        worker.open.set()
        for job in accepted:
            assert isinstance((await queen.ended(job.id))[-1][1], End)


async def test_one_who_need_not_wait_is_let_in_though_nobody_may_wait(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q", queue_capacity=0) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert (job.queue_position, job.predicted_start_ms) == (0, 0)
        assert text_of(await queen.ended(job.id)) == words(5)
        worker.pause_at = 1
        answers = await burst(queen, 3)
        assert [isinstance(each, JobStatus) for each in answers].count(True) == 1


async def test_an_interactive_job_does_not_count_the_batch_jobs_it_will_overtake(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        await queen.client.submit_job(spec(id="measured"))
        await queen.ended("measured")
        worker.pause_at = 1
        for _ in range(30):
            await queen.client.submit_job(spec(priority=Priority.BATCH))
        job = await queen.client.submit_job(spec(deadline_ms=60_000))
        assert job.queue_position == 0
        told = await queen.client.get_job(job.id)
        last = await queen.client.submit_job(spec(priority=Priority.BATCH))
        assert told.predicted_start_ms is not None and last.predicted_start_ms is not None
        assert told.predicted_start_ms < last.predicted_start_ms


async def test_a_job_for_vectors_is_not_refused_for_tokens_that_nobody_says(tmp_path: Path) -> None:
    took = End(tokens_in=9, tokens_out=0, stop_reason=StopReason.EOS, decode_ms=150.0, ttft_ms=50.0)
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        pool.kinds = {"tiny": ModelKind.EMBED}
        worker.script = [Vector(index=0, data="AACAPwAAAAA=", tokens=9), took]
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            await queen.client.submit_job(texts(id="measured"))
            await queen.ended("measured")
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            worker.open.clear()
            first = await queen.client.submit_job(texts())
            waits = await queen.client.submit_job(texts(deadline_ms=60_000))
            assert (first.predicted_start_ms, waits.predicted_start_ms) == (0, 200)
            last = await queen.client.submit_job(texts(inputs=("a" * 25,) * 2))
            assert last.predicted_start_ms == 400
            worker.open.set()
            await queen.ended(last.id)


async def test_a_worker_that_has_to_be_woken_takes_the_time_it_takes(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        pool.states[worker.id] = WorkerState.ASLEEP
        pool.needs = (Need(model="tiny", backend=Backend.CPU, bytes=GIB, ctx=512, load_ms=8000),)
        await queen.hear(pool)
        with pytest.raises(DeadlineUnmet) as refused:
            await queen.client.submit_job(spec(deadline_ms=1000))
        assert refused.value.details == {"deadline_ms": 1000, "predicted_start_ms": 8000}
        job = await queen.client.submit_job(spec(deadline_ms=60_000))
        assert job.predicted_start_ms == 8000
        assert text_of(await queen.ended(job.id)) == words(5)


async def test_one_id_many_times_at_the_same_moment_is_one_job(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)

        async def kinds() -> list[str]:
            stream = queen.http.stream("POST", "/v2/tasks", body=spec(id="same"))
            return [frame.event async for frame in stream]

        streams = await asyncio.gather(*(kinds() for _ in range(20)))
        assert {stream[-1] for stream in streams} == {"end"}
        assert len(worker.requests) == 1


async def test_an_id_that_is_on_disk_and_not_in_memory_yet_is_waited_for(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, on_disk, told = queen.queen.store, asyncio.Event(), asyncio.Event()
    read, write = store.read, store.write
    found = 0

    async def slow_to_find(function: Callable[..., Any], *args: Any) -> Any:
        nonlocal found
        found += function is jobs.find
        if function is jobs.find and found == 2:
            await on_disk.wait()
        return await read(function, *args)

    async def slow_to_tell(function: Callable[..., Any], *args: Any) -> Any:
        answer = await write(function, *args)
        if function is jobs.submit:
            on_disk.set()
            await told.wait()
        return answer

    monkeypatch.setattr(store, "read", slow_to_find)
    monkeypatch.setattr(store, "write", slow_to_tell)
    asked = [queen.queen.submit(spec(id="same"), Asker()) for _ in range(2)]
    await on_disk.wait()
    assert not (await asyncio.wait(asked, timeout=0.3))[0], "there is nothing yet that could be told"
    told.set()
    (_, first), (_, second) = await asyncio.gather(*asked)
    assert first is second is not None


async def test_a_job_that_could_not_be_kept_is_another_when_it_is_asked_for_again(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance, let = queen.queen._entrance, asyncio.Event()
    cancel = entrance._cancel

    async def full() -> None:
        raise NoCapacity("the disk is full")

    async def slowly(job: Job) -> None:
        await let.wait()
        await cancel(job)

    async def accepted() -> bool:
        with contextlib.suppress(NoCapacity):
            return bool(await queen.client.submit_job(spec(id="mine", prompt="another")))
        return False

    monkeypatch.setattr(entrance, "_cancel", slowly)
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        with monkeypatch.context() as patched:
            patched.setattr(queen.queen.store, "synced", full)
            with pytest.raises(NoCapacity, match="the disk is full"):
                await queen.client.submit_job(spec(id="mine"))
        with pytest.raises(NoCapacity, match="the disk is full"):
            await queen.client.submit_job(spec(id="mine"))
        let.set()
        await eventually(accepted)
        worker.pause_at = None
        worker.open.set()
        assert text_of(await queen.ended("mine")) == words(5)
        assert worker.requests[-1].prompt == "another"


async def test_who_was_to_leave_for_a_job_that_cannot_be_stored_stays(tmp_path: Path) -> None:
    async with running(tmp_path / "q", queue_capacity=1, queue_policy="drop-lru") as queen:
        waiting = await queen.client.submit_job(spec(priority=Priority.BATCH))
        await queen.queen.store.write(execute, "PRAGMA max_page_count = 1")
        with pytest.raises(NoCapacity):
            await queen.client.submit_job(spec("x" * 100_000))
        assert waiting.id in queen.queen.jobs.queue
        assert [job.id for job in await queen.client.list_jobs(JobQuery())] == [waiting.id]


async def test_a_batch_job_that_has_waited_counts_as_interactive(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q", promote_after_s=0) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        worker.pause_at = 1
        await queen.hear(pool)
        await queen.client.submit_job(spec(id="runs"))
        await queen.until("runs", "running")
        batch = await queen.client.submit_job(spec(priority=Priority.BATCH))
        await queen.client.submit_job(spec())
        assert (await queen.client.get_job(batch.id)).queue_position == 0
