"""Jobs from submit to end, at a fake worker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rbee.errors import (
    Conflict,
    NoCapacity,
)
from rbee.orchestrator_core.jobs import ATTEMPTS
from rbee.queen import errands, relay
from rbee.queen import job as live_job
from rbee.queen.newcomer import Asker
from rbee.queen.store import events as stored_events
from rbee.queen.store.models import execute
from rbee.wire import continuation
from rbee.wire.draining import DrainReason
from rbee.wire.events import ERASED, End, Failure, JobEvent, Metrics, Queued, Started, StopReason, Token
from rbee.wire.jobs import JobSpec, JobState, Priority
from rbee.wire.workers import WorkerExit, WorkerState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import Running, eventually, running, soon, text_of, words


@contextlib.asynccontextmanager
async def two_pools() -> AsyncIterator[tuple[FakeWorker, FakeWorker, FakePool, FakePool]]:
    """Serve two workers, each at a pool of its own."""
    async with (
        FakeWorker().serve() as first,
        FakeWorker("worker-cpu-1").serve() as second,
        FakePool("blep", first).serve() as blep,
        FakePool("mac", second).serve() as mac,
    ):
        yield first, second, blep, mac


def spec(prompt: str = "hello", **facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": prompt, "max_tokens": 5, **facts})  # type: ignore[arg-type]


async def test_it_works(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        events = await queen.ended(job.id)
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        assert text_of(events) == words(5)
        assert isinstance(events[0][1], Queued)
        assert events[1][1] == Started(worker="worker-cpu-0", model="tiny", seed=7, pool="blep")
        assert isinstance(events[-1][1], End)
        done = await queen.client.get_job(job.id)
        assert (done.state, done.pool, done.worker, done.seed) == (JobState.COMPLETED, "blep", "worker-cpu-0", 7)
        assert (done.tokens_in, done.tokens_out, done.stop_reason, done.attempts) == (3, 5, "max_tokens", 1)
        (asked,) = worker.requests
        assert (asked.id, asked.prompt, asked.max_tokens) == (job.id, "hello", 5)
        assert asked.detach_s > 0


async def test_every_reader_gets_the_same_and_a_late_one_resumes(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        reading = [asyncio.create_task(queen.ended(job.id)) for _ in range(3)]
        await soon(lambda: queen.queen.jobs.readers() == 3 and queen.queen.jobs.live[job.id].feed.last_id == 5)
        worker.open.set()
        transcripts = await asyncio.gather(*reading)
        assert transcripts[0] == transcripts[1] == transcripts[2]
        late = await queen.frames(job.events_url, after=4)
        assert [int(frame.id or 0) for frame in late] == [5, 6, 7, 8]
        assert await queen.frames(job.events_url, after=8) == []
        assert await queen.frames(job.events_url, after=999) == []


async def test_an_event_is_on_disk_before_anybody_reads_it(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(max_tokens=200))
        stored = await queen.queen.find(job.id, Asker())
        async for number, _ in queen.client.job_events(job.id):
            page = await queen.queen.store.read(stored_events.page, stored.seq, number - 1)
            assert page and page[0].id == number


async def test_jobs_wait_for_a_slot_and_run_in_order(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        first = await queen.client.submit_job(spec())
        await soon(lambda: worker.requests)
        batch = await queen.client.submit_job(spec(priority=Priority.BATCH))
        later = await queen.client.submit_job(spec())
        assert (await queen.client.get_job(later.id)).queue_position == 0
        waiting = await queen.client.get_job(batch.id)
        assert (waiting.queue_position, waiting.reason) == (1, "the slot for tiny is busy")
        worker.pause_at = None
        worker.open.set()
        for job in (first, batch, later):
            await queen.until(job.id, "completed")
        assert [asked.id for asked in worker.requests] == [first.id, later.id, batch.id]


async def test_a_waiting_reader_is_told_when_its_place_changes(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        running_ = await queen.client.submit_job(spec())
        await soon(lambda: worker.requests)
        ahead = await queen.client.submit_job(spec())
        behind = await queen.client.submit_job(spec())
        reading = asyncio.create_task(queen.ended(behind.id))
        await soon(lambda: queen.queen.jobs.live[behind.id].feed.readers)
        await queen.client.cancel_job(ahead.id)
        worker.pause_at = None
        await queen.client.cancel_job(running_.id)
        events = await reading
        assert [event.position for _, event in events if isinstance(event, Queued)] == [1, 0]
        assert text_of(events) == words(5)


async def test_the_start_is_predicted_once_jobs_of_the_model_have_run(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        first = await queen.client.submit_job(spec())
        assert first.predicted_start_ms == 0
        await queen.ended(first.id)
        worker.pause_at = 0
        await queen.client.submit_job(spec())
        await soon(lambda: len(worker.requests) == 2)
        assert (await queen.client.submit_job(spec())).predicted_start_ms is not None
        worker.open.set()


async def test_a_repeated_id_is_the_first_job_and_another_body_is_a_conflict(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        first, again = await asyncio.gather(*(queen.client.submit_job(spec(id="mine")) for _ in range(2)))
        assert first.id == again.id == "mine"
        with pytest.raises(Conflict, match="job mine exists with another body"):
            await queen.client.submit_job(spec("other", id="mine"))
        await queen.ended("mine")
        assert (await queen.client.submit_job(spec(id="mine"))).state is JobState.COMPLETED
        assert len(worker.requests) == 1


async def test_cancelling_reaches_the_worker_and_can_be_repeated(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 2
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: job.id in queen.queen.jobs.live and queen.queen.jobs.live[job.id].tokens == 2)
        await queen.client.cancel_job(job.id)
        await queen.http.call("POST", f"/v2/tasks/{job.id}/cancel")
        assert worker.cancelled == [job.id]
        events = await queen.ended(job.id)
        assert text_of(events) == words(2)
        assert isinstance(events[-1][1], End) and events[-1][1].stop_reason is StopReason.CANCELLED
        done = await queen.client.get_job(job.id)
        assert (done.state, done.stop_reason, done.tokens_out) == (JobState.CANCELLED, "cancelled", 2)


async def test_a_waiting_job_can_be_cancelled_and_a_finished_one_is_left_alone(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        waiting = await queen.client.submit_job(spec())
        await queen.client.cancel_job(waiting.id)
        assert [type(event) for _, event in await queen.ended(waiting.id)] == [Queued, End]
        await queen.hear(pool)
        done = await queen.client.submit_job(spec())
        await queen.ended(done.id)
        await queen.client.cancel_job(done.id)
        assert (await queen.client.get_job(done.id)).state is JobState.COMPLETED
        assert worker.cancelled == []


async def test_an_attached_reader_who_leaves_cancels_his_job(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 2
        await queen.hear(pool)
        stream = queen.http.stream("POST", "/v2/tasks", body=spec(id="attached"))
        async with contextlib.aclosing(stream):
            async for frame in stream:
                if frame.event == "token":
                    break
        await soon(lambda: worker.cancelled == ["attached"])
        await queen.until("attached", "cancelled")


async def test_an_onlooker_who_leaves_does_not(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 2
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        stream = queen.http.stream("GET", job.events_url)
        async with contextlib.aclosing(stream):
            async for frame in stream:
                if frame.event == "token":
                    break
        await soon(lambda: queen.queen.jobs.readers() == 0)
        worker.open.set()
        assert text_of(await queen.ended(job.id)) == words(5)
        assert worker.cancelled == []


async def test_a_cut_line_is_taken_up_where_it_was_cut(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(max_tokens=10))
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        await worker.cut()
        worker.open.set()
        events = await queen.ended(job.id)
        assert text_of(events) == words(10)
        assert worker.attached_after == [4]
        assert len(worker.requests) == 1


async def test_a_worker_that_ran_out_of_memory_is_named_with_its_numbers(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 1)
        pool.exits[worker.id] = WorkerExit(
            result="signal", oom=True, memory_limit_bytes=600, memory_peak_bytes=599, at_ms=5, log=("allocating",)
        )
        await worker.die()
        events = await queen.ended(job.id)
        failure = events[-1][1]
        assert isinstance(failure, Failure)
        assert failure.code == "worker_oom"
        assert failure.message == (
            "worker worker-cpu-0 on blep reached its memory limit of 600 bytes and was killed, peak 599 bytes"
        )
        assert failure.details is not None
        assert (failure.details["limit_bytes"], failure.details["peak_bytes"]) == (600, 599)
        assert failure.details["log"] == ["allocating"]
        done = await queen.client.get_job(job.id)
        assert done.state is JobState.FAILED and done.error is not None and done.error["code"] == "worker_oom"


async def test_a_hung_worker_is_named_and_another_attempt_goes_on(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 1)
        pool.exits[worker.id] = WorkerExit(result="watchdog", at_ms=5)
        worker.pause_at = None
        await worker.die()
        worker.open.set()
        assert text_of(await queen.ended(job.id)) == words(5)
        tried = [each for each in (await queen.client.explain_job(job.id)).decisions if each["decision"] == "retry"]
        assert [each["code"] for each in tried] == ["worker_hung"]
        assert tried[0]["sentence"].startswith("went on at once from token 1: worker worker-cpu-0 on blep made no")


async def test_a_worker_lost_before_the_first_token_is_tried_again(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 0
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: worker.requests)
        pool.exits[worker.id] = WorkerExit(result="exit-code", code="1", at_ms=5)
        worker.pause_at = None
        await worker.die()
        worker.open.set()
        events = await queen.ended(job.id)
        assert text_of(events) == words(5)
        assert (await queen.client.get_job(job.id)).attempts == 2
        tried = (await queen.client.explain_job(job.id)).decisions
        assert [step["decision"] for step in tried] == ["accept", "run", "retry", "run", "end"]


def resumed(events: list[tuple[int, JobEvent]]) -> list[str | None]:
    """Return where a stream went on, having held it to what every stream promises."""
    assert [number for number, _ in events] == list(range(1, len(events) + 1))
    assert sum(isinstance(event, Started) for _, event in events) == 1
    return [event.resumed_on for _, event in events if isinstance(event, Metrics)]


async def test_a_job_whose_worker_died_goes_on_at_another_one(queen: Running) -> None:
    async with two_pools() as (first, second, blep, mac):
        first.pause_at = 3
        await queen.hear(blep)
        job = await queen.client.submit_job(spec(temperature=0.7))
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        await queen.hear(mac)
        blep.gone.add(first.id)
        await first.die()
        events = await queen.ended(job.id)
        assert text_of(events) == words(5)
        assert resumed(events) == ["mac:worker-cpu-1"]
        (again,) = second.requests
        assert (continuation.unpacked(again.continue_from), again.seed) == ([0, 1, 2], 7)
        status = await queen.client.get_job(job.id)
        assert (status.pool, status.worker, status.attempts, status.tokens_out) == ("mac", "worker-cpu-1", 2, 5)


async def test_half_of_a_token_that_a_lost_worker_told_is_not_told_twice(queen: Running) -> None:
    """A token may make several pieces, of which the last has its number."""
    async with two_pools() as (first, _, blep, mac):
        first.script = [
            Token(i=0, t="w"), Token(i=0, t="0 ", ids=(0,)), Token(i=1, t="w1 ", ids=(1,)), Token(i=2, t="w"),
        ]  # fmt: skip
        await queen.hear(blep)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 2)
        await queen.hear(mac)
        blep.gone.add(first.id)
        await first.die()
        events = await queen.ended(job.id)
        assert (text_of(events), resumed(events)) == (words(5), ["mac:worker-cpu-1"])


async def test_at_the_deadline_of_a_drain_jobs_go_on_elsewhere_and_before_it_they_stay(queen: Running) -> None:
    async with two_pools() as (first, _, blep, mac):
        first.pause_at = 3
        await queen.hear(blep)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        blep.draining, blep.drain_until_ms = True, 1000
        await queen.hear(blep, mac)
        await queen.client.submit_job(spec(id="meanwhile"))
        assert text_of(await queen.ended("meanwhile")) == words(5)
        assert first.cancelled == []
        blep.at_ms = 1000
        await queen.hear(blep)
        events = await queen.ended(job.id)
        assert (text_of(events), resumed(events)) == (words(5), ["mac:worker-cpu-1"])
        assert first.cancelled == [job.id]
        told = (await queen.client.explain_job(job.id)).decisions
        assert "pool blep is draining, and its deadline has passed" in str(told)


async def test_a_pool_whose_host_leaves_is_left_in_peace_while_its_jobs_go_on_elsewhere(queen: Running) -> None:
    async with two_pools() as (first, _, blep, mac):
        first.pause_at = 3
        await queen.hear(blep)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        await queen.hear(mac)
        blep.asked, mac.asked = 0, 0
        blep.draining, blep.drain_until_ms, blep.drain_reason = True, 1, DrainReason.STOP
        await queen.hear(blep)
        events = await queen.ended(job.id)
        assert (text_of(events), resumed(events)) == (words(5), ["mac:worker-cpu-1"])
        told = str((await queen.client.explain_job(job.id)).decisions)
        assert "pool blep is draining: rbee-pool.service is being stopped" in told
        await queen.queen.pools.refresh()
        assert (blep.asked, mac.asked > 0) == (0, True)
        shown = await queen.client.get_pool("blep")
        assert (shown.drain_reason, shown.why) == (DrainReason.STOP, "rbee-pool.service is being stopped")


async def test_a_worker_that_lost_its_gpu_is_said_to_have(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(model="tiny"))
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        pool.gone.add(worker.id)
        pool.casualties[worker.id] = "worker worker-cpu-0 lost its GPU: gpu 1 (a gpu): it has fallen off the bus"
        await worker.die()

        async def said() -> bool:
            return "lost its GPU" in str((await queen.client.explain_job(job.id)).decisions)

        await eventually(said)  # its reason passes: it waits for another worker then


async def test_at_the_deadline_of_a_drain_a_job_that_can_go_nowhere_else_is_finished(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        pool.draining, pool.drain_until_ms, pool.at_ms = True, 1000, 2000
        await queen.hear(pool)
        worker.open.set()
        events = await queen.ended(job.id)
        assert (text_of(events), resumed(events), worker.cancelled) == (words(5), [], [])


async def test_with_no_other_worker_it_goes_on_at_the_same_one_once_that_is_back(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 3
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 3)
        pool.exits[worker.id] = WorkerExit(result="signal", code="KILL", at_ms=5)
        worker.pause_at = None
        await worker.die()
        worker.open.set()
        events = await queen.ended(job.id)
        assert (text_of(events), resumed(events)) == (words(5), ["blep:worker-cpu-0"])
        assert [asked.id for asked in worker.requests] == [job.id, f"{job.id}.2"]


async def test_a_worker_that_dies_again_and_again_fails_the_job_with_what_was_told(
    queen: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "backoff_s", lambda attempt, spread: 0.0)
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 2
        pool.exits[worker.id] = WorkerExit(result="signal", code="KILL", at_ms=5)
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        for attempt in range(1, ATTEMPTS + 1):
            await soon(lambda attempt=attempt: len(worker.requests) == attempt)  # type: ignore[misc]
            await soon(lambda: queen.queen.jobs.live[job.id].tokens == 2 and worker.generations)
            await worker.die()
        events = await queen.ended(job.id)
        failure = events[-1][1]
        assert isinstance(failure, Failure) and failure.code == "worker_lost"
        assert failure.details is not None and failure.details["tokens_out"] == 2
        assert text_of(events) == words(2)


async def test_a_shaped_job_that_took_two_workers_with_it_is_not_tried_a_third_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "backoff_s", lambda attempt, spread: 0.0)
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 0
        pool.exits[worker.id] = WorkerExit(result="watchdog", at_ms=5)
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            job = await queen.client.submit_job(spec(schema={"type": "object"}))
            await soon(lambda: len(worker.requests) == 1 and queen.queen.jobs.live[job.id].told_start)
            await worker.die()
            await soon(lambda: len(worker.requests) == 2 and worker.generations)
        async with running(tmp_path / "q") as queen:  # the next queen knows of the first one
            await queen.hear(pool)
            await soon(lambda: worker.attached_after)
            await worker.die()
            failure = (await queen.ended(job.id))[-1][1]
            assert isinstance(failure, Failure) and failure.code == "worker_hung"
            assert failure.details is not None and failure.details["workers_lost"] == 2
            assert "without its schema" in failure.hint
            assert len(worker.requests) == 2


async def test_one_that_ran_out_of_memory_is_not_tried_elsewhere(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        pool.exits[worker.id] = WorkerExit(result="oom-kill", oom=True, at_ms=5)
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 1)
        await worker.die()
        events = await queen.ended(job.id)
        assert isinstance(events[-1][1], Failure) and events[-1][1].code == "worker_oom"
        assert len(worker.requests) == 1


async def test_a_job_can_be_cancelled_while_it_waits_to_go_on(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 2
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: queen.queen.jobs.live[job.id].tokens == 2)
        pool.states[worker.id] = WorkerState.STARTING
        pool.exits[worker.id] = WorkerExit(result="signal", code="KILL", at_ms=5)
        await worker.die()
        await queen.until(job.id, "retried")
        await queen.client.cancel_job(job.id)
        events = await queen.ended(job.id)
        assert isinstance(events[-1][1], End) and events[-1][1].stop_reason == "cancelled"
        assert events[-1][1].tokens_out == 2


async def test_a_refusal_for_want_of_a_slot_counts_as_no_attempt(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.refusals = [NoCapacity("1 slot is busy")]
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
        assert (await queen.client.get_job(job.id)).attempts == 1


async def test_what_the_worker_refuses_for_good_is_the_jobs_error(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.failure = Failure(code="context_too_long", message="the prompt has 9 tokens, the context 8")
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(max_tokens=1))
        events = await queen.ended(job.id)
        assert isinstance(events[-1][1], Failure) and events[-1][1].code == "context_too_long"


async def test_a_job_that_outlives_its_deadline_is_stopped(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(deadline_ms=300))
        events = await queen.ended(job.id)
        assert isinstance(events[-1][1], Failure) and events[-1][1].code == "timeout"
        assert worker.cancelled == [job.id]


async def test_a_job_that_waits_past_its_deadline_fails(queen: Running) -> None:
    job = await queen.client.submit_job(spec(deadline_ms=100))
    assert [e.code for _, e in await queen.ended(job.id) if isinstance(e, Failure)] == ["timeout"]


async def test_a_job_that_runs_too_long_is_stopped(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q", job_limit_s=1) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        worker.pause_at = 1
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        events = await queen.ended(job.id)
        assert isinstance(events[-1][1], Failure)
        assert events[-1][1].message == f"job {job.id} ran longer than 1 s"


async def test_an_alias_means_the_same_model(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(model="tiny-0.5m"))
        assert text_of(await queen.ended(job.id)) == words(5)


async def test_places_and_predictions_move_as_the_queue_does(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        await queen.client.submit_job(spec(id="measured"))
        await queen.ended("measured")
        worker.pause_at = 1
        jobs = [(await queen.client.submit_job(spec(id=f"job-{n}"))) for n in range(4)]
        await queen.until("job-0", "running")
        told = [await queen.client.get_job(job.id) for job in jobs]
        assert [each.queue_position for each in told] == [None, 0, 1, 2]
        starts = [each.predicted_start_ms for each in told[1:]]
        assert all(each is not None for each in starts) and starts == sorted(starts, key=lambda each: each or 0)
        assert starts[2] != starts[0]
        assert told[1].reason == "the slot for tiny is busy"
        worker.pause_at = None
        worker.open.set()
        for job in jobs:
            assert text_of(await queen.ended(job.id)) == words(5)


async def test_a_slow_attached_reader_slows_the_worker_and_loses_nothing(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        stored, job = await queen.queen.submit(spec(max_tokens=4000, id="slow"), Asker())
        assert job is not None
        entries = queen.queen.entries(stored, 0, attached=job)
        seen = [await anext(entries)]
        begun = job.feed.last_id  # this worker takes no time for a token; it began while the disk was waited for
        await soon(lambda: job.tokens > 500)
        held: int | None = None
        while held != job.feed.last_id:
            held = job.feed.last_id
            await asyncio.sleep(0.2)
        assert held < begun + 2000, "a batch of the worker's more than it may lag, twice"
        seen += [entry async for entry in entries]
        assert [entry.id for entry in seen] == list(range(1, 4000 + 4))
        assert "".join(json.loads(e.data)["t"] for e in seen if e.kind == "token") == words(4000)


async def test_with_no_retention_a_finished_job_keeps_no_text(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q", retain_text_s=0) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        for job in ("x", "y"):  # the second ends while the first one's text waits to be erased
            body = spec("the launch code", id=job)
            frames = [frame async for frame in queen.http.stream("POST", "/v2/tasks", body=body)]
            assert "".join(json.loads(f.data)["t"] for f in frames if f.event == "token") == words(5)

        async def erased() -> bool:
            left = [[frame.event for frame in await queen.frames(f"/v2/tasks/{job}/events")] for job in ("x", "y")]
            return left == [["queued", "started", "end"]] * 2 and not on_disk(tmp_path, b"launch code")

        await eventually(erased)


async def test_of_a_job_whose_text_is_erased_no_error_and_no_line_of_the_log_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        running(tmp_path / "q", retain_text_s=0) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        worker.failure = Failure(code="invalid_request", message="schema: MARKER", details={"fields": ["MARKER"]})
        told = [frame async for frame in queen.http.stream("POST", "/v2/tasks", body=spec(id="refused"))]
        assert "MARKER" in told[-1].data
        worker.script = [ENDED_BY_MARKER]
        told = [frame async for frame in queen.http.stream("POST", "/v2/tasks", body=spec(id="stopped"))]
        assert "MARKER" in told[-1].data

        async def erased() -> bool:
            return not on_disk(tmp_path, b"MARKER")

        await eventually(erased)
        assert (await queen.client.get_job("refused")).error == {
            "code": "invalid_request", "message": ERASED, "retriable": False, "hint": "", "details": None
        }  # fmt: skip
        assert "MARKER" not in str(await queen.client.explain_job("refused"))
    logged = capsys.readouterr().err
    assert "job.ended job=refused" in logged and "MARKER" not in logged


ENDED_BY_MARKER = End(
    tokens_in=1, tokens_out=1, stop_reason=StopReason.STOP, decode_ms=1.0, ttft_ms=1.0, stop="MARKER"
)  # fmt: skip


def on_disk(directory: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in directory.iterdir())


async def test_a_worker_behind_a_pulled_cable_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WATCH_S", 0.1)
    monkeypatch.setattr(relay, "PROBE_S", 0.1)
    async with (
        running(tmp_path / "q", lost_after=1, heartbeat_s=0.2) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        worker.pause_at = 2
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        live = queen.queen.jobs.live[job.id]
        await soon(lambda: live.tokens == 2)
        worker.deaf = True
        await soon(lambda: worker.attached_after)
        worker.deaf = False
        worker.open.set()
        assert text_of(await queen.ended(job.id)) == words(5)
        assert worker.attached_after[0] == 3


async def test_a_full_disk_refuses_holds_and_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_job, "FULL_DISK_PAUSE_S", 0.05)
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        worker.pause_at = 2
        await queen.hear(pool)
        job = await queen.client.submit_job(spec(max_tokens=2000))
        live = queen.queen.jobs.live[job.id]
        await soon(lambda: live.tokens == 2)
        await queen.queen.store.write(execute, "PRAGMA max_page_count = 1")
        with pytest.raises(NoCapacity, match="database or disk is full"):
            await queen.client.submit_job(spec("x" * 100_000))
        await queen.queen.store.touch()  # it can, so that what is said next is of the stream
        assert "full" not in queen.queen.status_line()
        worker.pause_at = None
        worker.open.set()
        await soon(lambda: "database or disk is full: " in queen.queen.status_line())
        assert not live.finished
        assert live.feed.last_id == len(await queen.queen.store.read(stored_events.page, live.seq, 0, 5000))
        assert queen.queen.standstill() is None
        await queen.queen.store.write(execute, "PRAGMA max_page_count = 1000000")
        assert text_of(await queen.ended(job.id)) == words(2000)
        assert "full" not in queen.queen.status_line()
        assert (await queen.client.submit_job(spec())).state is JobState.DISPATCHED


async def test_a_bug_of_ours_ends_the_job_and_not_the_queen(queen: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def buggy(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        with monkeypatch.context() as patched:
            patched.setattr(relay.Relay, "run", buggy)
            job = await queen.client.submit_job(spec())
            assert [e.code for _, e in await queen.ended(job.id) if isinstance(e, Failure)] == ["internal"]
        next_job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(next_job.id)) == words(5)
