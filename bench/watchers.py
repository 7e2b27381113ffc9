"""What it costs the queen that somebody watches: python -m bench.watchers

200 clients follow the events of 40 jobs, of which half run, at a worker who says nothing for now (a stand-in), and half
wait. Measured is what a real queen-rbee has in memory before, with all of them watching, and after some keep-alives.
"""

import asyncio
import contextlib

from bench import processes
from bench.house import speaking, worker
from bench.paced_worker import MODEL
from bench.report import Table, goal, program
from rbee.client.queen import QueenClient
from rbee.wire.jobs import JobQuery, JobSpec, JobState

MOST_MB = 150.0
JOBS = 40
_SILENT_MS = 3_600_000
_FAR_S = 30.0
_ALL = JobQuery()


class Watcher:
    """One connection that follows a job and keeps nothing of what it hears."""

    def __init__(self) -> None:
        self.heard = 0
        self.keep_alives = 0
        self._writer: asyncio.StreamWriter | None = None

    async def watch(self, of: processes.Process, job: str) -> None:
        host, _, port = of.address.rpartition(":")
        reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(f"GET /v2/tasks/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        while data := await reader.read(1 << 16):
            self.heard += data.count(b"event: queued")
            self.keep_alives += data.count(b": keep-alive")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


async def measure(watchers: int = 200, seconds: float = 25.0) -> Table:
    """Have ``watchers`` watch for ``seconds``."""
    async with contextlib.AsyncExitStack() as stack:
        paced = await stack.enter_async_context(processes.paced_worker(first_ms=_SILENT_MS))
        queen = await stack.enter_async_context(processes.queen())
        client = await stack.enter_async_context(processes.client(queen))
        here = (worker(0, model=MODEL, address=paced.address, slots=JOBS // 2),)
        await stack.enter_async_context(speaking(client, "bench", here))
        jobs = [(await client.submit_job(JobSpec(model=MODEL, prompt="x"))).id for _ in range(JOBS)]
        states = await _settled(client)
        before_mb = queen.rss_mb()
        watching = [Watcher() for _ in range(watchers)]
        tasks = [asyncio.create_task(each.watch(queen, jobs[n % JOBS])) for n, each in enumerate(watching)]
        async with asyncio.timeout(_FAR_S):
            while not all(each.heard for each in watching):  # noqa: ASYNC110  (others speak, and tell nobody here)
                await asyncio.sleep(0.05)
        began_mb, cpu_s = queen.rss_mb(), queen.cpu_s()
        await asyncio.sleep(seconds)
        after_mb, cpu = queen.rss_mb(), (queen.cpu_s() - cpu_s) / seconds * 100
        if any(task.done() for task in tasks) or not all(each.keep_alives for each in watching):
            raise RuntimeError("a watcher was cut off, or heard nothing: nothing was measured")
        for each in watching:
            each.close()
    ran = f"{watchers} watchers of {states[0]} jobs that run and {states[1]} that wait, {seconds:g} s; queen-rbee."
    return Table(
        name="watchers",
        ran=ran,
        columns=("", "RSS MB", "% of a core", "goal"),
        rows=[
            ["nobody watches", before_mb, "", ""],
            [f"{watchers} have begun", began_mb, "", goal(began_mb, MOST_MB, "MB")],
            [f"{watchers}, {seconds:g} s later", after_mb, cpu, goal(after_mb, MOST_MB, "MB")],
        ],
    )


async def _settled(client: QueenClient) -> tuple[int, int]:
    """Return how many run and how many wait, once that is as it should be."""
    async with asyncio.timeout(_FAR_S):
        while True:
            states = [job.state for job in await client.list_jobs(_ALL)]
            running = states.count(JobState.RUNNING)
            if running == JOBS // 2:
                return running, states.count(JobState.QUEUED)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    program(__doc__, measure, watchers=200, seconds=25.0)
