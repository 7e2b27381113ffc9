"""What listening costs the queen: python -m bench.heartbeats

20 pools send their whole snapshot every 2 s, each of 4 workers, 8 models and 2 GPUs, in which numbers move as they do.
No job comes. Measured is the processor time of a real queen-rbee, all of its threads, of one core.
"""

import asyncio
import contextlib

from bench import processes
from bench.house import HEARTBEAT_S, snapshot, speaking, worker
from bench.report import Table, goal, program
from rbee.wire import codec

MOST_PERCENT = 1.0
SETTLE_S = 3.0


async def measure(pools: int = 20, seconds: float = 30.0) -> Table:
    """Let ``pools`` speak for ``seconds``."""
    workers = tuple(worker(n, model=f"model-{n}", slots=4) for n in range(4))
    size = len(codec.dump_json(snapshot("pool-0", workers, at_ms=1000)))
    async with contextlib.AsyncExitStack() as stack:
        queen = await stack.enter_async_context(processes.queen())
        client = await stack.enter_async_context(processes.client(queen))
        silent = await _percent(queen, seconds / 3)
        for n in range(pools):
            await stack.enter_async_context(speaking(client, f"pool-{n:02}", workers))
            await asyncio.sleep(HEARTBEAT_S / pools)  # as they would come, not all at once
        heard = await _percent(queen, seconds)
        rss_mb = queen.rss_mb()
    each_us = (heard - silent) / 100 * HEARTBEAT_S / pools * 1e6
    ran = (
        f"{pools} pools, a snapshot of {size:,} bytes each {HEARTBEAT_S:g} s (4 workers, 8 models, 2 GPUs), "
        f"{seconds:g} s; queen-rbee with SQLite on disk."
    )
    return Table(
        name="heartbeats",
        ran=ran,
        columns=("", "% of a core", "µs a heartbeat", "RSS MB", "goal"),
        rows=[
            ["nobody speaks", silent, "", "", ""],
            [f"{pools} pools", heard, each_us, rss_mb, goal(heard, MOST_PERCENT, "%")],
        ],
    )


async def _percent(queen: processes.Process, seconds: float) -> float:
    await asyncio.sleep(SETTLE_S)
    before_s = queen.cpu_s()
    await asyncio.sleep(seconds)
    return (queen.cpu_s() - before_s) / seconds * 100


if __name__ == "__main__":
    program(__doc__, measure, pools=20, seconds=30.0)
