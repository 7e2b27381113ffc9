"""The queue on a host with real workers, spoken to as its users would; the GPU is a fake one, see ``gpus``."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbee.client.queen import QueenClient
from rbee.errors import ContextTooLong, QueueFull
from rbee.wire.events import Queued
from rbee.wire.jobs import JobSpec, JobStatus, Message, Role
from tests.assets.nvml import gpu
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd import gpus
from tests.systemd.gpus import MIB
from tests.systemd.lab import Lab

LONG = {"max_tokens": 400, "ignore_eos": True, "temperature": 0.0}


def spec(model: str = "tiny", **facts: Any) -> JobSpec:
    return JobSpec(**{"model": model, "prompt": "x", "max_tokens": 4, **facts})


def ask(lab: Lab, *questions: Any) -> list[Any]:
    """Ask the queen many things at once: each is called with a client; refusals are answers."""

    async def all_of_them() -> list[Any]:
        lines = asyncio.Semaphore(50)  # one caller may have 64

        async def answer(question: Any, queen: QueenClient) -> Any:
            async with lines:
                return await question(queen)

        async with lab.http(source="queen", timeout_s=60) as http:
            queen = QueenClient(http)
            return await asyncio.gather(*(answer(each, queen) for each in questions), return_exceptions=True)

    with lab.network():
        return asyncio.run(all_of_them())


def submitting(*specs: JobSpec) -> list[Any]:
    return [lambda queen, each=each: queen.submit_job(each) for each in specs]


async def _followed(queen: QueenClient, wanted: JobSpec) -> list[Queued]:
    """Return what a job was told while it waited."""
    job = await queen.submit_job(wanted)
    return [event async for _, event in queen.job_events(job.id) if isinstance(event, Queued)]


@pytest.fixture
def cuda(lab: Lab, tmp_path: Path) -> Lab:
    """A host with one GPU on which one small model finds room, and two of those."""
    gpus.drive(lab.host, gpu(0, total=600 * MIB))
    gpus.install(lab.host, tmp_path)
    for name in ("one", "two"):
        lab.give_tiny(name, context_tokens=2048)
    return lab


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no worker on the host that tests share."""
    yield
    if "shared" in request.fixturenames:
        lab: Lab = request.getfixturevalue("shared")
        for worker in lab.hive_json("worker", "list"):
            lab.hive("worker", "stop", worker["id"], "--yes")


def test_ten_jobs_on_one_slot_are_told_their_place_and_when_and_why(shared: Lab) -> None:
    shared.give_tiny("roomy", context_tokens=4096)
    shared.spawn("roomy", "--slots", "1")
    shared.rbee("jobs", "submit", "--model", "roomy", "--prompt", "x", "--max-tokens", "400", "--ignore-eos")
    [first] = ask(shared, *submitting(spec("roomy", **{**LONG, "max_tokens": 3500})))  # which lasts until all ten wait
    assert isinstance(first, JobStatus), first
    followed = ask(shared, *[lambda queen: _followed(queen, spec("roomy", **LONG)) for _ in range(10)])
    places = set()
    for told in followed:
        positions = [event.position for event in told]
        assert positions == sorted(positions, reverse=True), "nobody moves back"
        assert all(event.predicted_start_ms is not None for event in told)
        assert {event.reason for event in told[1:]} <= {"the slot for roomy is busy"}
        places.update(positions)
    assert places >= set(range(9)), "each place was somebody's"


def test_a_burst_that_is_too_much_is_told_when_to_come_back(shared: Lab) -> None:
    shared.spawn("tiny", "--slots", "1")
    answers = ask(shared, *submitting(*[spec(**LONG, session=f"s{n % 3}") for n in range(200)]))
    full = [each for each in answers if isinstance(each, QueueFull)]
    accepted = [each for each in answers if isinstance(each, JobStatus)]
    assert (len(full) + len(accepted), len(accepted) >= 100, len(full) > 0) == (200, True, True)
    assert {each.message for each in full} == {"the queue holds 100 jobs, its capacity is 100"}
    assert 1 <= full[0].details["retry_after_s"] <= 60
    assert len({each.queue_position for each in accepted}) > 50, "each has a place of its own while all of them wait"
    ask(shared, *[lambda queen, job=each.id: queen.cancel_job(job) for each in accepted])
    wait_for(lambda: shared.rbee_json("jobs", "list", "--state", "queued") == [], "the queue to be empty", 20)


def test_a_prompt_is_counted_by_the_models_own_tokenizer_with_its_template(shared: Lab) -> None:
    shared.spawn("tiny", "--ctx", "512")
    chat = (Message(role=Role.USER, content="x" * 480),)
    fits, too_long, in_template = ask(
        shared,
        *submitting(
            spec(prompt="x" * 400, max_tokens=400, ignore_eos=True),
            spec(prompt="x" * 600),
            spec(prompt=None, messages=chat * 2),
        ),
    )
    assert isinstance(too_long, ContextTooLong), too_long
    assert too_long.details["context_tokens"] == 512 < too_long.details["prompt_tokens"]
    assert isinstance(in_template, ContextTooLong), in_template
    assert in_template.details["prompt_tokens"] > 960, "the template counts as well"
    assert isinstance(fits, JobStatus)
    wait_for(lambda: shared.rbee_json("jobs", "status", fits.id)["state"] == "completed", "the job", 30)
    done = shared.rbee_json("jobs", "status", fits.id)
    assert done["tokens_in"] + done["tokens_out"] <= 512
    assert (done["stop_reason"], done["tokens_out"] < 400) == ("max_tokens", True), "the context ended it"


def test_a_large_model_has_its_turn_on_a_gpu_that_small_ones_keep_busy(cuda: Lab) -> None:
    cuda.hive_json("worker", "spawn", "cuda", "--model", "one", "--slots", "3")
    stop = threading.Event()

    def flood() -> None:
        async def one_after_the_other(queen: QueenClient) -> int:
            count = 0
            while not stop.is_set():
                job = await queen.submit_job(spec("one", **{**LONG, "max_tokens": 1600}))  # too long to run dry
                async for _ in queen.job_events(job.id):
                    pass
                count += 1
            return count

        served.extend(ask(cuda, *[one_after_the_other] * 5))

    served: list[Any] = []
    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        wait_for(lambda: len(cuda.rbee_json("jobs", "list", "--state", "running")) == 3, "the flood", 30)
        cuda.rbee("jobs", "submit", "--model", "two", "--prompt", "x", "--max-tokens", "4", "--id", "two", timeout=60)
        waited = cuda.rbee("jobs", "explain", "two").stdout
        assert "worker-cuda-0 has work" in waited
        assert "worker-cuda-0 on" in waited and "was evicted for two: it had" in waited
    finally:
        stop.set()
        thread.join(60 * PATIENCE)
    assert all(isinstance(count, int) and count > 0 for count in served), served


def test_a_damaged_model_fails_only_those_who_wait_for_it(shared: Lab) -> None:
    shared.give_tiny("damaged")
    path = shared.host.root / shared.models.lstrip("/") / "damaged.gguf"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    answers = ask(shared, *submitting(*[spec("damaged")] * 3, *[spec()] * 3))
    jobs = [each.id for each in answers if isinstance(each, JobStatus)]
    wait_for(lambda: all(_ended(shared, job) for job in jobs), "all jobs to end", 60)
    ended = [shared.rbee_json("jobs", "status", job) for job in jobs]
    assert {each["state"] for each in ended if each["model"] == "tiny"} == {"completed"}
    damaged = [each for each in ended if each["model"] == "damaged"]
    assert {each["state"] for each in damaged} <= {"failed"}
    for each in damaged:
        assert f"failed: {each['reason']}" in shared.rbee("jobs", "explain", each["id"]).stdout


def _ended(lab: Lab, job: str) -> bool:
    return lab.rbee_json("jobs", "status", job)["state"] in ("completed", "failed", "cancelled")
