"""The queue on a host with real workers, spoken to as its users would; the GPU is a fake one, see ``gpus``."""

import asyncio
import time
from typing import Any

from rbee.client.queen import QueenClient
from rbee.wire.events import Queued, Started
from rbee.wire.jobs import JobSpec
from tests.systemd.lab import Lab

LONG = {"max_tokens": 400, "ignore_eos": True, "temperature": 0.0}


def spec(model: str = "tiny", **facts: Any) -> JobSpec:
    return JobSpec(**{"model": model, "prompt": "x", "max_tokens": 4, **facts})


def ask(lab: Lab, *questions: Any) -> list[Any]:
    """Ask the queen many things at once: each is called with a client; refusals are answers."""

    async def all_of_them() -> list[Any]:
        async with lab.http(source="queen", timeout_s=60) as http:
            queen = QueenClient(http)
            return await asyncio.gather(*(each(queen) for each in questions), return_exceptions=True)

    with lab.network():
        return asyncio.run(all_of_them())


def submitting(*specs: JobSpec) -> list[Any]:
    return [lambda queen, each=each: queen.submit_job(each) for each in specs]


async def _followed(queen: QueenClient, wanted: JobSpec) -> tuple[float, list[tuple[float, Queued]], float]:
    """Return when a job came, what it was told and when, and when it started."""
    job, told, started_s = await queen.submit_job(wanted), [], 0.0
    began_s = time.monotonic()
    async for _, event in queen.job_events(job.id):
        if isinstance(event, Queued):
            told.append((time.monotonic(), event))
        if isinstance(event, Started):
            started_s = time.monotonic()
    return began_s, told, started_s


def test_what_ten_jobs_on_one_slot_are_told_comes_true(shared: Lab) -> None:
    shared.spawn("tiny", "--slots", "1")
    for _ in range(3):
        shared.rbee("jobs", "submit", "--model", "tiny", "--prompt", "x", "--max-tokens", "400", "--ignore-eos")
    followed = ask(shared, *[lambda queen: _followed(queen, spec(**LONG)) for _ in range(10)])
    followed.sort(key=lambda each: each[2])
    last_s = followed[-1][2] - followed[-1][0]
    for _, told, started_s in followed:
        positions = [event.position for _, event in told]
        assert positions == sorted(positions, reverse=True), "nobody moves back"
        for at_s, event in told[1:]:
            assert event.predicted_start_ms is not None
            print(f"{started_s - at_s:.3f} {event}")
            off_s = abs(started_s - at_s - event.predicted_start_ms / 1000)
            assert off_s < max(2.0, last_s), f"{off_s:.1f} s off"
    assert max(event.position for _, told, _ in followed for _, event in told) >= 8
