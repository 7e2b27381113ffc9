"""What every kind of database promises; ``test_sqlite`` and ``tests/postgres`` each say ``where``."""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from peewee import IntegrityError

from rbee.errors import ConfigInvalid, InvalidRequest, ShuttingDown
from rbee.orchestrator_core.registry import Claim
from rbee.queen.store import events, jobs, pools, responses, retention
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Given, Move, NewJob, Stale
from rbee.queen.store.migrations import MIGRATIONS
from rbee.queen.store.models import execute
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store
from rbee.wire.jobs import JobQuery, JobSpec, JobState

QUEUED = Entry(1, "queued", '{"position":0}')


def new(job: str = "job-1", prompt: str = "hello", caller: str = "", model: str = "tiny") -> NewJob:
    spec = JobSpec(model=model, prompt=prompt, id=job)
    return NewJob(
        id=job,
        digest=hashlib.sha256(prompt.encode()).hexdigest(),
        spec=spec,
        caller=caller,
        request_id="r1",
        created_ms=1000,
    )


def opened(where: str) -> Store:
    return Store(Postgres(where) if "://" in where else Path(where))


@pytest.fixture
async def store(where: str) -> AsyncIterator[Store]:
    made = opened(where)
    yield made
    made.close()


async def run_to_end(store: Store, seq: int) -> None:
    await store.write(jobs.record, seq, [], [Move(JobState.DISPATCHED, {"attempts": 1, "worker": "w"})])
    entries = [
        Entry(2, "started", "{}", 1, 1),
        Entry(3, "token", '{"i":0,"t":"secret"}', 1, 2),
        Entry(4, "end", "{}", 1, 3),
    ]
    moves = [Move(JobState.RUNNING, {"started_ms": 1100}), Move(JobState.COMPLETED, {"finished_ms": 1200})]
    await store.write(jobs.record, seq, entries, moves)


async def test_a_submitted_job_can_be_found_with_its_first_event(store: Store) -> None:
    stored = await store.write_durably(jobs.submit, new(), QUEUED)
    assert stored.fresh
    assert stored.status.state is JobState.QUEUED
    found = await store.read(jobs.find, "job-1")
    assert found is not None and found.status == stored.status
    assert await store.read(events.page, stored.seq, 0) == (QUEUED,)


async def test_a_second_submit_of_an_id_returns_the_first(store: Store) -> None:
    await store.write_durably(jobs.submit, new(), QUEUED)
    second = await store.write_durably(jobs.submit, new(prompt="other"), QUEUED)
    assert not second.fresh
    assert second.digest == new().digest


async def test_a_job_may_be_given_to_a_worker_by_the_write_that_stores_it(store: Store) -> None:
    given = Given(pool="blep", worker="w", record={"decision": "run", "sentence": "it was free"})
    stored = await store.write_durably(jobs.submit, new(), QUEUED, given)
    assert (stored.status.state, stored.status.attempts, stored.status.pool) == (JobState.DISPATCHED, 1, "blep")
    (left,) = await store.read(jobs.unfinished)
    assert (left.status.state, left.status.attempts, left.status.worker) == (JobState.DISPATCHED, 1, "w")
    assert await store.read(jobs.decisions, stored.seq) == ({"at_ms": 1000, **given.record},)
    again = await store.write_durably(jobs.submit, new(), QUEUED, given)
    assert (again.fresh, len(await store.read(jobs.decisions, stored.seq))) == (False, 1)


async def test_what_comes_together_is_stored_together_and_who_is_late_is_late_alone(store: Store) -> None:
    first, ended, other = [(await store.write(jobs.submit, new(job), QUEUED)).seq for job in ("a", "b", "c")]
    await store.write(jobs.record, ended, [], [Move(JobState.CANCELLED, {"finished_ms": 2000})])
    token = Entry(2, "token", '{"i":0,"t":"\u00e9 \\u0000"}', 1, 7, b"\x00\x01\x02\x03")
    ours = Entry(3, "metrics", "{}", 1)
    told = [(first, [token, ours]), (ended, [token]), (other, [Entry(2, "token", "{}", 1, 1)])]
    results = await asyncio.gather(*(store.share(jobs.append, each) for each in told), return_exceptions=True)
    assert [type(each) for each in results] == [type(None), Stale, type(None)]
    assert await store.read(events.page, first, 1) == (token._replace(tokens=None), ours)
    assert await store.read(events.tokens, first) == token.tokens
    assert [len(await store.read(events.page, seq, 1)) for seq in (ended, other)] == [0, 1]


async def test_one_that_cannot_be_stored_takes_nobody_with_it(store: Store) -> None:
    first, other = [(await store.write(jobs.submit, new(job), QUEUED)).seq for job in ("a", "b")]
    again = Entry(1, "token", "{}", 1)
    told = [(first, [again]), (other, [Entry(2, "token", "{}", 1)])]
    results = await asyncio.gather(*(store.share(jobs.append, each) for each in told), return_exceptions=True)
    assert isinstance(results[0], IntegrityError) and results[1] is None
    assert [len(await store.read(events.page, seq, 1)) for seq in (first, other)] == [0, 1]


async def test_more_events_than_a_statement_takes(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    await store.share(jobs.append, (seq, [Entry(n, "token", "{}", 1, n) for n in range(2, 1302)]))
    assert await store.read(events.page, seq, 1300) == (Entry(1301, "token", "{}", 1, 1301),)


async def test_a_move_the_state_forbids_stores_nothing(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    with pytest.raises(Stale):
        await store.write(jobs.record, seq, [Entry(2, "end", "{}")], [Move(JobState.COMPLETED, {"finished_ms": 1})])
    assert await store.read(events.page, seq, 1) == ()


async def test_events_after_the_end_are_refused(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    await run_to_end(store, seq)
    with pytest.raises(Stale):
        await store.write(jobs.record, seq, [Entry(5, "token", "{}")])


async def test_one_failing_write_leaves_its_neighbours_in_the_group_alone(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    wrong = store.write(jobs.record, seq, [], [Move(JobState.COMPLETED, {})])
    right = [store.write(jobs.submit, new(f"job-{n}"), QUEUED) for n in range(2, 40)]
    done = await asyncio.gather(wrong, *right, return_exceptions=True)
    assert isinstance(done[0], Stale)
    assert len(await store.read(jobs.search, JobQuery(), None)) == 39


async def test_search_filters_and_pages_newest_first(store: Store) -> None:
    for n in range(1, 6):
        await store.write(jobs.submit, new(f"job-{n}", caller="ann" if n % 2 else "bob"), QUEUED)
    assert [s.id for s in await store.read(jobs.search, JobQuery(limit=2), None)] == ["job-5", "job-4"]
    assert [s.id for s in await store.read(jobs.search, JobQuery(after="job-4", limit=2), None)] == ["job-3", "job-2"]
    assert [s.id for s in await store.read(jobs.search, JobQuery(), "bob")] == ["job-4", "job-2"]
    assert await store.read(jobs.search, JobQuery(state=JobState.FAILED), None) == ()
    for query, caller in ((JobQuery(after="nobody"), None), (JobQuery(after="job-3"), "bob")):
        with pytest.raises(InvalidRequest, match="after: is .*, which is no job"):
            await store.read(jobs.search, query, caller)


async def test_unfinished_tells_where_the_worker_was(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    await store.write(jobs.record, seq, [], [Move(JobState.DISPATCHED, {"attempts": 1, "pool": "p", "worker": "w"})])
    await store.write(
        jobs.record, seq, [Entry(2, "started", "{}", 1, 1), Entry(3, "token", "{}", 1, 2)], [Move(JobState.RUNNING, {})]
    )
    (left,) = await store.read(jobs.unfinished)
    assert (left.last_event, left.last_worker_event, left.delivered) == (3, 2, True)
    assert (left.status.pool, left.status.worker, left.spec.prompt) == ("p", "w", "hello")


async def test_worker_events_of_an_earlier_attempt_do_not_count(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    await store.write(jobs.record, seq, [], [Move(JobState.DISPATCHED, {"attempts": 1})])
    await store.write(jobs.record, seq, [Entry(2, "started", "{}", 1, 1)], [Move(JobState.RUNNING, {})])
    await store.write(jobs.record, seq, [], [Move(JobState.RETRIED, {"reason": "lost"})])
    await store.write(jobs.record, seq, [], [Move(JobState.DISPATCHED, {"attempts": 2})])
    (left,) = await store.read(jobs.unfinished)
    assert (left.last_event, left.last_worker_event, left.delivered) == (2, 0, False)


async def test_deleting_a_job_takes_its_events_along(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    await run_to_end(store, seq)
    assert await store.write(retention.delete_finished, 1100) == 0
    assert await store.write(retention.delete_finished, 1200) == 1
    assert await store.read(jobs.find, "job-1") is None
    assert await store.read(events.page, seq, 0) == ()


async def test_pools_are_kept_until_removed(store: Store) -> None:
    record = Claim(id="blep", instance="i", url="http://blep:9200", version="1", draining=True)
    await store.write(pools.save, record)
    await store.write(pools.save, record)
    assert await store.read(pools.known) == (record,)
    await store.write(pools.remove, "blep")
    assert await store.read(pools.known) == ()


async def test_text_is_erased_but_for_who_still_reads(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(prompt="the launch code"), QUEUED)).seq
    await run_to_end(store, seq)
    assert await store.write(retention.erase_text, 1300, 1300, {seq}) == 0
    assert await store.write(retention.erase_text, 1300, 1300) == 1
    await store.checkpoint()
    assert [entry.kind for entry in await store.read(events.page, seq, 0)] == ["queued", "started", "end"]


async def test_what_an_ending_repeats_of_the_text_is_erased_with_it(store: Store) -> None:
    done = (await store.write(jobs.submit, new("done"), QUEUED)).seq
    end = {"tokens_in": 1, "tokens_out": 2, "stop_reason": "stop", "decode_ms": 1.0, "ttft_ms": 1.0}
    await _end(store, done, "end", {**end, "stop": "MARKER"}, {"stop_reason": "stop"})
    refused = (await store.write(jobs.submit, new("refused"), QUEUED)).seq
    said = {"message": "schema: MARKER", "hint": "MARKER", "details": {"fields": ["MARKER"]}}
    failure = {"code": "invalid_request", "retriable": False, **said}
    await _end(store, refused, "error", failure, {"error": json.dumps(failure), "reason": "schema: MARKER"})
    lost = (await store.write(jobs.submit, new("lost"), QUEUED)).seq
    loss = {"code": "worker_oom", "message": "it reached 7 bytes", "retriable": False, "hint": ""}
    await _end(store, lost, "error", loss, {"error": json.dumps(loss), "reason": "it reached 7 bytes"})

    assert await store.write(retention.erase_text, 1300, 1300) == 3
    assert [json.loads(entry.data) for entry in await store.read(events.page, done, 1)] == [end]
    for job, seq in (("refused", refused), ("lost", lost)):
        found = await store.read(jobs.find, job)
        (told,) = await store.read(events.page, seq, 1)
        (decision,) = await store.read(jobs.decisions, seq)
        assert found is not None and json.loads(told.data) == found.status.error
        seen = f"{told} {found} {decision}"
        assert "MARKER" not in seen
        assert ("was erased with the text" in seen) is (job == "refused") is not ("7 bytes" in seen)
        assert found.status.error["code"] == decision["code"] == told.read().code  # type: ignore[index, union-attr]


async def _end(store: Store, seq: int, kind: str, data: dict[str, Any], columns: dict[str, Any]) -> None:
    state = JobState.COMPLETED if kind == "end" else JobState.FAILED
    moves = [Move(JobState.DISPATCHED, {"attempts": 1}), Move(JobState.RUNNING, {})]
    moves.append(Move(state, {"finished_ms": 1200, **columns}))
    decision = {"decision": "fail", "sentence": f"failed: {data.get('message')}", "code": data.get("code")}
    await store.write(jobs.record, seq, [Entry(2, kind, json.dumps(data), 1)], moves, decision)


async def test_what_was_erased_once_may_be_erased_again_and_is_not_kept_meanwhile(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    await run_to_end(store, seq)
    assert await store.write(retention.erase_text, 1300, 1300) == 1
    before = await store.read(events.page, seq, 0)
    await store.write(lambda: execute(*MIGRATIONS["m007_erase_again"]))
    await store.write(responses.keep, "job-1", {})
    assert await store.read(responses.told, "job-1") is None
    assert await store.write(retention.erase_text, 1300, 1300) == 1
    assert await store.read(events.page, seq, 0) == before


async def test_many_are_erased_bit_by_bit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    seqs = [(await store.write(jobs.submit, new(f"job-{n}"), QUEUED)).seq for n in range(4)]
    for seq in seqs:
        await run_to_end(store, seq)
    counts = [await store.write(retention.erase_text, 1300, 1300, {seqs[0]}) for _ in range(3)]
    assert counts == [2, 1, 0]


async def test_a_row_that_cannot_be_read_is_told_from_those_that_can(store: Store) -> None:
    await store.write(jobs.submit, new("job-1"), QUEUED)
    await store.write(jobs.submit, new("job-2"), QUEUED)
    spec = json.dumps({"model": "tiny", "prompt": "hello", "top_k": "many"})
    await store.write(lambda: execute("UPDATE job SET spec = ? WHERE id = ?", spec, "job-1"))
    broken, fine = await store.read(jobs.unfinished)
    assert broken.unreadable is not None and "top_k" in broken.unreadable.message
    assert (fine.unreadable, fine.spec.prompt) == (None, "hello")


async def test_the_models_tokens_come_back_as_they_were(store: Store) -> None:
    seq = (await store.write(jobs.submit, new(), QUEUED)).seq
    entries = [Entry(2, "token", "{}", 1, 1, b"\x00\x01\xff\x00"), Entry(3, "token", "{}", 1, 2, b"\x07\x00\x00\x00")]
    await store.write(jobs.record, seq, entries)
    assert await store.read(events.tokens, seq) == b"\x00\x01\xff\x00\x07\x00\x00\x00"


async def test_text_may_hold_anything(store: Store) -> None:
    """PostgreSQL's has no NUL; no prompt has one either, but what a worker said in its last moment may."""
    told = "quote ' \" \\ % ? {} \N{SNOWMAN}"
    seq = (await store.write(jobs.submit, new(prompt=told), QUEUED)).seq
    moves = [Move(JobState.DISPATCHED, {"attempts": 1, "reason": f"{told}\0"})]
    await store.write(jobs.record, seq, [], moves)
    (left,) = await store.read(jobs.unfinished)
    assert left.spec.prompt == told
    assert left.status.reason == f"{told}\N{REPLACEMENT CHARACTER}"


async def test_after_closing_writes_are_refused_and_earlier_ones_are_kept(where: str) -> None:
    store = opened(where)
    writing = asyncio.gather(*(store.write(jobs.submit, new(f"job-{n}"), QUEUED) for n in range(50)))
    await asyncio.sleep(0)
    store.close()
    await writing
    with pytest.raises(ShuttingDown):
        await store.write(jobs.submit, new("late"), QUEUED)
    again = opened(where)
    assert len(await again.read(jobs.search, JobQuery(), None)) == 50
    again.close()


async def test_a_database_of_a_newer_rbee_is_refused(where: str) -> None:
    store = opened(where)
    await store.write(execute, "INSERT INTO migration VALUES ('m999_from_the_future')")
    store.close()
    with pytest.raises(ConfigInvalid, match="newer rbee: it has m999_from_the_future"):
        opened(where)


WRITER = """
import asyncio, sys
from rbee.queen.store import jobs
from rbee.queen.store.events import Entry
from rbee.wire.jobs import JobSpec
from tests.unit.queen.store.promises import opened

async def main() -> None:
    store = opened(sys.argv[1])
    for n in range(1_000_000):
        spec = JobSpec(model="tiny", prompt="hello", id=f"job-{n}")
        new = jobs.NewJob(id=f"job-{n}", digest="d", spec=spec, caller="", request_id="", created_ms=1)
        await store.write_durably(jobs.submit, new, Entry(1, "queued", "{}"))
        print(n, flush=True)

asyncio.run(main())
"""


def write_until_killed(where: str) -> int:
    """Return the number of the last job that was acknowledged before SIGKILL."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, where], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 200:
            break
    writer.send_signal(signal.SIGKILL)
    acknowledged = [200, *(int(line) for line in writer.stdout.read().split())]
    writer.wait()
    writer.stdout.close()
    return acknowledged[-1]


async def test_what_a_killed_writer_acknowledged_is_there(where: str) -> None:
    last = write_until_killed(where)
    store = opened(where)
    left = await store.read(jobs.unfinished)
    store.close()
    assert len(left) in (last + 1, last + 2)
    assert [job.last_event for job in left] == [1] * len(left)
