"""rbee-hive sync: the steps as a table, failures with what to do, and the exit code of the first."""

import dataclasses
import json

from rbee.pool_core.declared import Declaration
from rbee.wire.workers import Backend, WorkerShape
from tests.fakes.pool import PLAN, FakePool, facts_of
from tests.unit.hive.conftest import run

SHAPE = WorkerShape(backend=Backend.CPU, model="tiny")


def declare(pool: FakePool, **workers: WorkerShape) -> None:
    pool.declaration = Declaration(workers=workers)


async def test_a_dry_run_shows_the_steps(pool: FakePool, daemon: str) -> None:
    declare(pool, chat=SHAPE)
    pool.units.workers["worker-cpu-0"] = facts_of(PLAN)
    done = await run("sync", "--dry-run")
    assert done.code == 0
    assert done.out.splitlines() == [
        "STEP   NAME          STATE    WHY",
        "start  chat          planned  it is not there",
        "keep   worker-cpu-0  kept     it was started by hand or for a job, not declared",
    ]
    assert done.err == "1 to do, 1 left alone: nothing was done\n"
    assert set(pool.units.workers) == {"worker-cpu-0"}


async def test_what_was_done_is_counted_and_again_there_is_nothing_to_do(pool: FakePool, daemon: str) -> None:
    declare(pool, chat=SHAPE)
    first, again = await run("sync"), await run("sync")
    assert (first.code, first.err.splitlines()[-1]) == (0, "1 done")
    assert (again.code, again.out, again.err.splitlines()[-1]) == (0, "", "1 declared worker unchanged")
    declare(pool)
    assert (await run("sync")).out.splitlines()[1] == "stop  chat  done   it is declared no more"
    assert (await run("sync")).err.splitlines()[-1] == "nothing is declared, and nothing is here that was"


async def test_failures_come_last_with_their_hints_and_the_first_gives_the_code(pool: FakePool, daemon: str) -> None:
    pool.models.hub = set()
    declare(pool, odd=dataclasses.replace(SHAPE, model="nowhere"), chat=SHAPE)
    done = await run("sync")
    assert done.code == 69
    assert "start  chat     done    it is not there" in done.out.splitlines()
    assert done.err.splitlines()[-4:] == [
        "rbee-hive: the hub has no nowhere",
        "hint: rbee-hive models catalog",
        "rbee-hive: odd: its model nowhere could not be fetched: the hub has no nowhere",
        "hint: rbee-hive models catalog",
    ]


async def test_as_json_the_outcome_is_a_document_also_when_steps_failed(pool: FakePool, daemon: str) -> None:
    declare(pool, chat=dataclasses.replace(SHAPE, ctx=1 << 20))
    done = await run("sync", "--format=json")
    [step] = done.document["steps"]
    assert (done.code, step["state"], step["error"]["code"]) == (64, "failed", "invalid_request")
    assert json.loads(done.err)["error"]["message"].startswith("chat: ctx is 1048576")


async def test_as_events_the_last_line_has_the_outcome(pool: FakePool, daemon: str) -> None:
    declare(pool, chat=SHAPE)
    done = await run("sync", "--events")
    *progress, last = map(json.loads, done.out.splitlines())
    assert {event["state"] for event in progress} == {"progress"}
    assert [step["state"] for step in last["outcome"]["steps"]] == ["done"]


async def test_who_is_pruned(pool: FakePool, daemon: str) -> None:
    pool.units.workers["worker-cpu-0"] = facts_of(PLAN)
    assert (await run("sync", "--prune")).out.splitlines()[1] == "stop  worker-cpu-0  done   it is not declared"
