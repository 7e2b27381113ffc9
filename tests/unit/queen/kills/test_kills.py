"""The queen is killed two hundred times at random moments. Nobody who asked her for something may notice."""

import asyncio
import contextlib
import random
import secrets
import sqlite3
import time
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.errors import RbeeError
from rbee.wire.inference import InferenceRequest
from tests.fakes.worker_server import FakePool
from tests.rig.waiting import PATIENCE
from tests.support.real_worker import RealWorker, real_worker
from tests.unit.queen.kills.caller import LENGTHS, PROMPTS, Caller, Texts
from tests.unit.queen.kills.nursery import Nursery, nursery

KILLS = 200
CALLERS = 6
LIVES, LEAST_LIVES, LONGEST_S = 4, 2, 0.8
"""The longest life of a queen, in times of what she takes to be up: some are killed before, on any machine, and some
are not. It is four times that while that is short, and never less than twice."""

MEASURED_EVERY = 20
"""So many kills later the machine may be busier."""

MOMENTS = ("submitting", "waiting", "streaming", "cancelling")


async def undisturbed(worker: RealWorker) -> Texts:
    """Return what it says to each of the prompts when nobody is killed."""
    texts = {}
    for prompt, length in product(PROMPTS, LENGTHS):
        request = InferenceRequest(prompt=prompt, seed=1, max_tokens=length, temperature=0, ignore_eos=True)
        texts[prompt, length] = await worker.says(request)
    return texts


async def test_two_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Each job has one end, was done once, and says what it would have said; its reader saw each event once."""
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with (
        real_worker(tmp_path) as worker,
        FakePool("blep", worker.face).serve() as pool,
        nursery(tmp_path, RBEE_QUEEN_POOLS=pool.url) as queens,
        HttpClient(queens.url) as http,
    ):
        pool.speak = partial(speak, pool, QueenClient(http))
        texts = await undisturbed(worker)
        callers = [Caller(f"caller{n}", http, random.Random(rng.random())) for n in range(CALLERS)]
        struck = await killed(queens, callers, rng)
        print(f"they struck callers while {dict(struck)}")
        told = [job for caller in callers for job in caller.told]
        for job in told:
            job.check(texts)
            assert await callers[0].again(job) == job.seen
        done = Counter(
            each["job"].partition(".")[0] for each in worker.endings() if each["stop_reason"] == "max_tokens"
        )
        assert {job.id: done[job.id] for job in told if not job.called_off and done[job.id] != 1} == {}
    assert min(struck[doing] for doing in MOMENTS) > 0, struck
    assert len(told) > KILLS / 2, "hardly anything got done between the kills"
    on_disk(tmp_path / "queen.sqlite", len(told))


async def speak(pool: FakePool, queen: QueenClient) -> None:
    with contextlib.suppress(RbeeError):
        await queen.heartbeat(pool.id, pool.snapshot())


async def time_to_be_up_s(queens: Nursery) -> float:
    began_s = time.monotonic()
    await queens.bear()
    async with HttpClient(queens.url) as http:  # a connection that was kept is one to a queen before
        await http.call("GET", "/health", timeout_s=10 * PATIENCE)
    took_s = time.monotonic() - began_s
    await queens.kill()
    return took_s


async def killed(queens: Nursery, callers: list[Caller], rng: random.Random) -> Counter[str]:
    """Kill one queen after the other; return what the callers waited for in those moments."""
    struck: Counter[str] = Counter()
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller.live(enough))
        longest_life_s = 0.0
        for count in range(KILLS):
            if count % MEASURED_EVERY == 0:
                up_s = await time_to_be_up_s(queens)
                longest_life_s = min(LIVES * up_s, max(LONGEST_S, LEAST_LIVES * up_s))
            await queens.bear()
            await asyncio.sleep(rng.uniform(0, longest_life_s))
            struck.update(caller.doing for caller in callers)
            await queens.kill()
        await queens.bear()
        enough.set()
    return struck


def on_disk(path: Path, jobs: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*), count(finished_ms) FROM job").fetchone() == (jobs, jobs)
