"""A queen with a policy: it decides, it fails, it is recorded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rbee.adapters.policy import PolicyScript
from rbee.queen.policy import FAULTS, Policy
from rbee.wire.events import Failure
from rbee.wire.jobs import JobSpec, JobState, Priority
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import eventually, running, text_of, words

BATCH_WAITS = """
def decide(ctx):
    print("asked about", ctx.job.id)
    return wait("batch waits") if ctx.job.priority == "batch" else None
"""


class Unhurried(PolicyScript):
    """It may take its time: on a busy machine the built-in decides in its place, and nobody is held."""

    def decide(self, context: Mapping[str, Any], limit_s: float = 5.0) -> Any:
        return super().decide(context, limit_s)


def policy_of(
    tmp_path: Path, source: str, record: Path | None = None, script: type[PolicyScript] = Unhurried
) -> Policy:
    (tmp_path / "x.star").write_text(source)
    return Policy(script.load(tmp_path / "x.star"), record)


def spec(**facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": "the secret prompt", "max_tokens": 5, **facts})  # type: ignore[arg-type]


async def test_a_script_has_a_job_wait_until_it_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        queen.queen.dispatcher.policy = policy_of(tmp_path, BATCH_WAITS)
        await queen.hear(pool)
        later = await queen.client.submit_job(spec(priority=Priority.BATCH))
        now = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(now.id)) == words(5)

        async def waits() -> bool:
            return (await queen.client.get_job(later.id)).reason == "batch waits"

        await eventually(waits)
        assert f"asked about {later.id}" in capsys.readouterr().err
        queen.queen.dispatcher.policy = Policy()
        queen.queen.jobs.changed.set()
        assert text_of(await queen.ended(later.id)) == words(5)


FAULTY = "def decide(ctx):\n    return 1 // 0\n"
SLOW = """
def decide(ctx):
    long = "y" * (1 << 22)
    return [long.count("z") for each in range(900)] if ctx else None
"""
GREEDY = "def decide(ctx):\n    return wait('x' * (ctx.now_ms // 1000))\n"
BOB_WAITS = """
def decide(ctx):
    return wait("bob is away") if ctx.job.session == "bob" else None
"""


async def test_who_is_held_does_not_hold_up_others_and_is_not_lost(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        queen.queen.dispatcher.policy = policy_of(tmp_path, BOB_WAITS)
        await queen.hear(pool)
        held = [await queen.client.submit_job(spec(session="bob")) for _ in range(3)]
        for _ in range(2):
            job = await queen.client.submit_job(spec(session="ann"))
            assert text_of(await queen.ended(job.id)) == words(5)

        async def all_say_so() -> bool:
            return {(await queen.client.get_job(job.id)).reason for job in held} == {"bob is away"}

        await eventually(all_say_so)
        told = (await queen.client.explain_job(held[0].id)).decisions
        assert [each["reason"] for each in told if each["decision"] == "wait"] == ["bob is away"]
        assert told[-1]["policy"].startswith("the policy decided so; the built-in: dispatch blep:")
        queen.queen.reconfigure(token="", catalog=(), policy=Policy(), strategy="least-loaded")
        for job in held:
            assert text_of(await queen.ended(job.id)) == words(5)


async def test_a_policy_that_always_waits_ends_no_job_but_by_its_deadline(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        queen.queen.dispatcher.policy = policy_of(tmp_path, "def decide(ctx):\n    return wait('never')\n")
        await queen.hear(pool)
        patient = await queen.client.submit_job(spec())
        hasty = await queen.client.submit_job(spec(deadline_ms=300))
        assert [event.code for _, event in await queen.ended(hasty.id) if isinstance(event, Failure)] == ["timeout"]
        assert (await queen.client.get_job(patient.id)).state is JobState.QUEUED
        queen.queen.dispatcher.policy = Policy()
        queen.queen.jobs.changed.set()
        assert text_of(await queen.ended(patient.id)) == words(5)


async def test_a_job_tells_that_the_policy_failed_for_it(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        queen.queen.dispatcher.policy = policy_of(
            tmp_path, "def decide(ctx):\n    return wait('x' * (ctx.now_ms // 1000))\n"
        )
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
        told = (await queen.client.explain_job(job.id)).decisions
        run = next(each for each in told if each["decision"] == "run")
        assert run["policy"].startswith("the built-in decided: policy ")
        assert "wanted more than 256.0 MiB" in run["policy"]
        assert "wanted more than" in queen.queen.status_line()
        assert queen.queen.metrics.registry.get_sample_value("rbee_policy_faults") == 1


async def test_a_faulty_script_is_reported_and_the_built_in_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        said = {}
        for source in (FAULTY, SLOW):
            script = PolicyScript if source == SLOW else Unhurried
            queen.queen.dispatcher.policy = policy_of(tmp_path, source, script=script)
            for _ in range(FAULTS + 3):
                job = await queen.client.submit_job(spec())
                assert text_of(await queen.ended(job.id)) == words(5)
            said[source] = capsys.readouterr().err
        assert said[FAULTY].count("policy.failed") <= 2, (
            "once; and once more, should it be left alone on a busy machine"
        )
        assert "x.star:2" in said[FAULTY]
        assert said[SLOW].count("rests_s=10") == 1
        assert "the policy rests for 10 s, after 3 costly faults" in queen.queen.status_line()
        assert queen.queen.dispatcher.policy.faults == FAULTS


async def test_what_was_decided_is_recorded_without_prompts(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        queen.queen.dispatcher.policy = policy_of(tmp_path, BATCH_WAITS, record)
        await queen.hear(pool)
        await queen.client.submit_job(spec(id="later", priority=Priority.BATCH))
        await queen.client.submit_job(spec(id="now"))
        await queen.ended("now")
    text = record.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["context"]["job"]["id"], row["decision"]["action"]) for row in rows] == [
        ("later", "wait"),
        ("now", "dispatch"),
    ]
    assert rows[0]["context"]["builtin"]["action"] == "dispatch"
    assert "secret" not in text
    assert record.stat().st_mode & 0o777 == 0o600


async def test_a_record_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "q") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        queen.queen.dispatcher.policy = Policy(None, tmp_path)
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
