"""What stands between a caller and a worker, per task and per token: python -m bench.overhead

50 streams at once, of 50 tokens/s each, from a stand-in for a worker (``bench.paced_worker``): asked directly, through
a real queen-rbee with her database on disk, and through LiteLLM's proxy (one process), one after the other, round by
round, by the same readers. LiteLLM's process stands still while it is not measured, for it goes on working when its
answers are over. What the reader, the stand-in and the machine take is in all of them alike, so what is
*added* is the difference from the direct answer of the same round; of several rounds the median is told.
"""

import contextlib
import json
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import uvloop

from bench import litellm, processes
from bench.house import speaking, worker
from bench.paced_worker import MODEL
from bench.processes import Process
from bench.report import Cell, Table, goal, percentile, program
from bench.streams import Heard, Target, load

FIRST_P50_MS, FIRST_P99_MS, GAP_P99_MS = 2.0, 8.0, 3.0
_QUESTION = "Say something."


@dataclass(slots=True)
class Way:
    """One way to the worker; ``direct`` is the one it is compared with. A ``peer`` is no part of rbee."""

    target: Target
    process: Process | None = None
    direct: "Way | None" = None
    peer: bool = False
    rounds: list[Heard] = field(default_factory=list)
    cpu_s: float = 0.0
    rss_mb: float = 0.0

    def added(self, of: str, share: float) -> float:
        """Return how many ms more than directly, in ``first``, ``gaps`` or ``under_way``: the median of the rounds."""
        here = [percentile(getattr(each, of), share) for each in self.rounds]
        there = [percentile(getattr(each, of), share) for each in self.direct.rounds] if self.direct else [0.0] * 99
        return statistics.median(a - b for a, b in zip(here, there, strict=False))


def measure(streams: int = 50, pace: float = 50.0, tokens: int = 100, turns: int = 3, rounds: int = 4) -> Table:
    """Measure each way ``rounds`` times."""
    return uvloop.run(_measure(streams, pace, tokens, turns, rounds))


async def _measure(streams: int, pace: float, tokens: int, turns: int, rounds: int) -> Table:
    async with _ways(pace, tokens, streams) as ways:
        for way in ways:
            await load(way.target, streams=streams, tokens=tokens, turns=1, spread_s=0.5)
        for _ in range(rounds):
            for way in ways:
                before_s = way.process.cpu_s() if way.process else 0.0
                with contextlib.ExitStack() as still:
                    for other in ways:
                        if other.peer and other.process and other is not way:
                            still.enter_context(processes.still(other.process))
                    heard = await load(way.target, streams=streams, tokens=tokens, turns=turns, spread_s=tokens / pace)
                way.rounds.append(heard)
                if way.process:
                    way.cpu_s += way.process.cpu_s() - before_s
                    way.rss_mb = max(way.rss_mb, way.process.rss_mb())
    each = streams * turns
    ran = (
        f"{streams} streams at once of {pace:g} tokens/s, {tokens} tokens an answer, {each:,} answers a round, "
        f"{rounds} rounds; queen-rbee with SQLite on disk, LiteLLM {litellm.VERSION} (one process), and nothing "
        "between (direct); added is against direct over the same protocol in the same round."
    )
    return Table(name="overhead", ran=ran, columns=_COLUMNS, rows=[_row(way, streams * turns * tokens) for way in ways])


_COLUMNS = (
    "",
    "first token: added p50 ms",
    "added p99 ms",
    "gap: added p99 ms",
    "under way: p50 ms",
    "under way: p99 ms",
    "CPU µs a token",
    "RSS MB",
    "goals for what is added",
)


def _row(way: Way, tokens: int) -> Sequence[Cell]:
    first, late, gap = way.added("first", 0.5), way.added("first", 0.99), way.added("gaps", 0.99)
    under_way = [statistics.median(percentile(each.under_way, share) for each in way.rounds) for share in (0.5, 0.99)]
    if way.process is None:
        return [f"{way.target.name} (itself, not added)", first, late, gap, *under_way, "", "", ""]
    cpu_us = way.cpu_s / (tokens * len(way.rounds)) * 1e6
    goals = [goal(first, FIRST_P50_MS), goal(late, FIRST_P99_MS), goal(gap, GAP_P99_MS)]
    told = "; ".join(goals) if way.process and "queen" in way.target.name else ""
    return [way.target.name, first, late, gap, *under_way, cpu_us, way.rss_mb, told]


@contextlib.asynccontextmanager
async def _ways(pace: float, tokens: int, streams: int) -> AsyncIterator[list[Way]]:
    """Start everything, and return the ways there are."""
    chat = {"model": MODEL, "messages": [{"role": "user", "content": _QUESTION}], "stream": True, "max_tokens": tokens}
    task = {"model": MODEL, "messages": [{"role": "user", "content": _QUESTION}], "max_tokens": tokens}
    async with contextlib.AsyncExitStack() as stack:
        paced = await stack.enter_async_context(processes.paced_worker(pace=pace))
        queen = await stack.enter_async_context(processes.queen())
        client = await stack.enter_async_context(processes.client(queen))
        here = (worker(0, model=MODEL, address=paced.address, slots=streams * 2),)
        await stack.enter_async_context(speaking(client, "bench", here))
        peer = await stack.enter_async_context(litellm.proxy(paced))

        def target(name: str, of: Process, path: str, asked: dict[str, object], token: str = "") -> Target:
            return Target(name=name, address=of.address, path=path, body=json.dumps(asked).encode(), token=token)

        inference = Way(target("direct, /v1/inference", paced, "/v1/inference", task))
        openai = Way(target("direct, /v1/chat/completions", paced, "/v1/chat/completions", chat))
        path = "/v1/chat/completions"
        yield [
            inference,
            Way(target("queen-rbee, /v2/tasks", queen, "/v2/tasks", task), queen, inference),
            openai,
            Way(target(f"queen-rbee, {path}", queen, path, chat), queen, openai),
            Way(target(f"LiteLLM, {path}", peer, path, chat, litellm.KEY), peer, openai, peer=True),
        ]


if __name__ == "__main__":
    program(__doc__, measure, streams=50, pace=50.0, tokens=100, turns=3, rounds=4)
