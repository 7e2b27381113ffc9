"""The queen's database when it is full: python -m bench.store [--database URL]

100,000 finished jobs with their events are put into a new SQLite file (or the PostgreSQL database that is named, which
must be empty). Measured are pages of jobs, each filter, at the beginning and deep inside: ``jobs.search`` alone, and
GET /v2/tasks through a queen-rbee who has opened it; and how many jobs a second are accepted, on disk, one after the
other and 32 at once, beside what the disk itself takes for one sync.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from bench import processes
from bench.house import speaking, worker
from bench.processes import BUILD
from bench.report import Cell, Table, goal, percentile, program
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.queen.store import jobs
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Move, NewJob
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store
from rbee.wire import codec
from rbee.wire.jobs import JobQuery, JobSpec, JobState

PAGE_MS = 10.0
TURNS = 60
_BATCH = 500
_COLUMNS = {"started_ms": 1000, "seed": 1}
_ENDED = {"finished_ms": 2000, "tokens_in": 9, "tokens_out": 8, "stop_reason": "eos", "reason": ""}

QUERIES = {
    "newest 100": (JobQuery(), None),
    "after the 50,000th": (JobQuery(after="job-50000"), None),
    "state completed": (JobQuery(state=JobState.COMPLETED), None),
    "state failed, 1 in 1000": (JobQuery(state=JobState.FAILED), None),
    "model, 1 in 20": (JobQuery(model="model-7"), None),
    "model, 1 in 5000": (JobQuery(model="rare"), None),
    "model 1 in 20, state failed": (JobQuery(model="model-7", state=JobState.FAILED), None),
    "model 1 in 20, after the 50,000th": (JobQuery(model="model-7", after="job-50000"), None),
    "caller, 1 in 10": (JobQuery(), "caller-3"),
    "caller, 1 in 5000": (JobQuery(), "seldom"),
    "caller, model and state": (JobQuery(model="model-7", state=JobState.COMPLETED), "caller-3"),
    "state queued: none": (JobQuery(state=JobState.QUEUED), None),
}


def fill(first: int, count: int) -> None:
    """Store ``count`` jobs that ended, each with a queue entry, a start, eight tokens and an end."""
    for number in range(first, first + count):
        spec = JobSpec(model="rare" if number % 5000 == 17 else f"model-{number % 20}", prompt="Say something. " * 8)
        new = NewJob(
            id=f"job-{number}", digest="0" * 64, spec=spec, request_id="0" * 32, created_ms=number,
            caller="seldom" if number % 5000 == 19 else f"caller-{number % 10}",
        )  # fmt: skip
        seq = jobs.submit(new, Entry(1, "queued", '{"position":0,"predicted_start_ms":null,"reason":""}')).seq
        told = [Entry(n + 3, "token", json.dumps({"i": n, "t": "something "}), 1, n + 2, b"0000") for n in range(8)]
        told = [Entry(2, "started", '{"worker":"w","model":"m","seed":1,"pool":"p"}', 1, 1), *told]
        end = Entry(11, "end", '{"tokens_in":9,"tokens_out":8,"stop_reason":"eos","decode_ms":1,"ttft_ms":1}', 1, 10)
        dispatched = Move(JobState.DISPATCHED, {"attempts": 1, "pool": "p", "worker": "w", "reason": ""})
        running = Move(JobState.RUNNING, _COLUMNS)
        last = Move(JobState.FAILED if number % 1000 == 7 else JobState.COMPLETED, {**_ENDED, "finished_ms": _now_ms()})
        jobs.record(seq, [*told, end], [dispatched, running, last], {"decision": "run"}, number)


async def measure(count: int = 100_000, database: str = "") -> Table:
    """Fill, ask, accept."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="store-") as where:
        named = database or f"{where}/queen.sqlite"
        began_s = time.perf_counter()
        alone = await _alone(named, count)
        filled_s = time.perf_counter() - began_s
        through = await _through(named, alone)
        sync_ms = _sync_ms(Path(where))
    kind = database.partition(":")[0] or "SQLite"
    ran = (
        f"{count:,} finished jobs of 11 events each in {kind} (made in {filled_s:.0f} s); pages of 100, "
        f"{TURNS} times each. One sync of this disk took {sync_ms:.1f} ms when it was over."
    )
    return Table(
        name="store", ran=ran, columns=("", "alone p50 ms", "GET p50 ms", "GET p95 ms", "goal for p95"), rows=through
    )


async def _alone(named: str, count: int) -> dict[str, float]:
    """Fill the database and ask it without a queen."""
    store = Store(Postgres(named) if "://" in named else Path(named))
    try:
        for first in range(0, count, _BATCH):
            await store.write(fill, first, min(_BATCH, count - first))
        asked = {}
        for name, (query, caller) in QUERIES.items():
            asked[name] = statistics.median(
                [await _timed(store.read, jobs.search, query, caller) for _ in range(TURNS)]
            )
        return asked
    finally:
        await asyncio.to_thread(store.close)


async def _through(named: str, alone: dict[str, float]) -> list[list[Cell]]:
    """Ask a queen; what only named callers ask, alone is measured."""
    rows: list[list[Cell]] = []
    async with _queen(named) as (http, queen):
        for name, (query, caller) in QUERIES.items():
            if caller is not None:
                rows.append([name, alone[name], "", "", goal(alone[name], PAGE_MS)])
                continue
            took = [await _timed(http.call, "GET", _path(query)) for _ in range(TURNS)]
            late = percentile(took, 0.95)
            rows.append([name, alone[name], statistics.median(took), late, goal(late, PAGE_MS)])
        for at_once in (1, 32):
            rate = await _accepted(queen, 400, at_once)
            rows.append([f"jobs accepted a second, {at_once} at once", "", rate, "", ""])
    return rows


async def _accepted(queen: QueenClient, count: int, at_once: int) -> float:
    """Return how many jobs a second are accepted: a 202 means that a machine without power still has it."""
    left = iter(range(count))

    async def submit() -> None:
        for _ in left:
            await queen.submit_job(JobSpec(model="model-1", prompt="x"))

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(submit())
    return count / (time.perf_counter() - began_s)


@asynccontextmanager
async def _queen(named: str) -> AsyncIterator[tuple[HttpClient, QueenClient]]:
    """Run a queen over it whose only worker has no slot to give: what she accepts waits."""
    async with (
        processes.queen(named, queue_capacity=-1) as process,
        HttpClient(process.url, source="queen") as http,
        speaking(QueenClient(http), "bench", (worker(0, model="model-1", slots=0),)),
    ):
        yield http, QueenClient(http)


def _path(query: JobQuery) -> str:
    return f"/v2/tasks?{urlencode({key: value for key, value in codec.plain(query).items() if value is not None})}"


async def _timed(ask: Callable[..., Awaitable[object]], *args: object) -> float:
    began_s = time.perf_counter()
    await ask(*args)
    return (time.perf_counter() - began_s) * 1000


def _sync_ms(where: Path) -> float:
    """Return how long this disk takes to have 4 KiB more of a file for good."""
    took = []
    with (where / "sync").open("wb", buffering=0) as file:
        for _ in range(TURNS):
            file.write(b"\0" * 4096)
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(took)


def _now_ms() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    program(__doc__, measure, count=100_000, database="")
