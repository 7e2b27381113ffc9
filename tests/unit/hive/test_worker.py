import json
from collections.abc import AsyncIterator

import pytest

from rbee.cli import services
from rbee.errors import WorkerOom
from rbee.hive import worker as commands
from rbee.wire.workers import WorkerExit
from tests.fakes.pool import GIB, FakePool
from tests.unit.hive.conftest import run

SPAWN = ("worker", "spawn", "cpu", "--model=tiny")


async def test_a_spawn_shows_progress_apart_from_its_result(daemon: str) -> None:
    done = await run(*SPAWN, "--memory=600M")
    assert done.code == 0
    assert done.err == "starting tiny 40%\n"
    facts = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert facts["worker"].strip() == "worker-cpu-0"
    assert facts["memory"].strip() == "1.0 MiB of 600.0 MiB"


async def test_a_spawn_as_json_is_the_worker(daemon: str) -> None:
    done = await run(*SPAWN, "--format=json")
    assert (done.document["id"], done.document["state"], done.err) == ("worker-cpu-0", "ready", "")


async def test_a_spawn_that_fails_tells_how(pool: FakePool, daemon: str) -> None:
    pool.units.will_end = WorkerExit(
        result="oom-kill", oom=True, memory_limit_bytes=GIB, memory_peak_bytes=GIB, at_ms=6000, log=("last words",)
    )
    done = await run(*SPAWN)
    assert done.code == WorkerOom.exit_code
    assert "  | last words\n" in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    "argv",
    [SPAWN, ("worker", "stop", "worker-cpu-7"), ("worker", "drain", "worker-cpu-7")],
    ids=["spawn", "stop", "drain"],
)
async def test_a_dry_run_changes_nothing(pool: FakePool, daemon: str, argv: tuple[str, ...]) -> None:
    await run(*SPAWN, "--id=worker-cpu-7")
    before = dict(pool.units.workers)
    done = await run(*argv, "--dry-run")
    assert done.code == 0
    assert done.out.startswith("would ")
    assert pool.units.workers == before


async def test_no_workers_is_said_and_is_an_empty_array(daemon: str) -> None:
    assert (await run("worker", "list")).err == "no workers\n"
    assert (await run("worker", "list", "--format=json")).out == "[]\n"


async def test_workers_are_listed(daemon: str) -> None:
    await run(*SPAWN)
    heading, line = (await run("worker", "list")).out.splitlines()
    assert heading.split()[:3] == ["WORKER", "STATE", "MODEL"]
    assert line.split()[:5] == ["worker-cpu-0", "ready", "tiny", "cpu", "127.0.0.1:8001"]


async def test_one_worker(daemon: str) -> None:
    await run(*SPAWN)
    assert (await run("worker", "status", "worker-cpu-0", "--format=json")).document["slots"] == 1
    assert (await run("worker", "status", "nobody")).code == 66


async def test_a_stop_wants_yes_where_nobody_can_be_asked(pool: FakePool, daemon: str) -> None:
    await run(*SPAWN)
    refused = await run("worker", "stop", "worker-cpu-0")
    assert refused.code == 64
    assert "hint: add --yes" in refused.err
    done = await run("worker", "stop", "worker-cpu-0", "--yes", "--format=json")
    assert done.document == {"done": "worker-cpu-0 stopped", "id": "worker-cpu-0"}
    assert pool.units.workers == {}


async def test_stopping_nobody_is_not_even_asked_about(daemon: str) -> None:
    assert (await run("worker", "stop", "nobody")).code == 66


async def test_drain(pool: FakePool, daemon: str) -> None:
    await run(*SPAWN)
    assert (await run("worker", "drain", "worker-cpu-0")).out == "worker-cpu-0 drained\n"
    assert pool.units.released == ["worker-cpu-0"]


async def test_logs(daemon: str) -> None:
    await run(*SPAWN)
    assert (await run("worker", "logs", "worker-cpu-0", "--lines=1")).out == "line 4 of worker-cpu-0\n"
    lines = (await run("worker", "logs", "worker-cpu-0", "--format=json")).document
    assert [line["id"] for line in lines] == [1, 2, 3, 4, 5]
    assert (await run("worker", "logs", "nobody")).code == 66
    assert (await run("worker", "logs", "worker-cpu-0", "--lines=all")).code == 64


async def test_following_a_log_reads_this_hosts_journal(daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    async def journal(argv: list[str]) -> AsyncIterator[str]:
        asked.append(argv)
        yield "one"

    monkeypatch.setattr(commands.process, "lines", journal)
    monkeypatch.setattr(services.os, "geteuid", lambda: 0)
    await run(*SPAWN)
    assert (await run("worker", "logs", "worker-cpu-0", "--follow", "--lines=9")).code == 0
    expected = "journalctl --no-pager --quiet --unit rbee-worker-cpu-0.service --lines 9 --output=short-iso --follow"
    assert [" ".join(argv) for argv in asked] == [expected]
    assert (await run("worker", "logs", "nobody", "--follow")).code == 66


async def test_wrong_numbers_are_named_together(daemon: str) -> None:
    done = await run(*SPAWN, "--slots=0", "--idle=0", "--format=json")
    assert done.code == 64
    fields = json.loads(done.err)["error"]["details"]["fields"]
    assert {field["field"] for field in fields} == {"slots", "idle_s"}
