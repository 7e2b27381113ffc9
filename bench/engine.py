"""The worker against other servers of the same model: python -m bench.engine

rbee's worker, llama.cpp's own llama-server and llama_cpp.server, all on the same libllama and weights. They are asked
in turns, round by round, each trial of each with the same questions, by the same readers; those that are not in turn
stand still. All are in memory from beginning to end.

    --device cuda --lib FOLDER    on a GPU, with other libraries; all layers are there
    --llama-server FILE           one that is compiled already: then nothing is fetched
    --peers llama-server          leave out llama_cpp.server, which pip would have to install
    --machine NAME --json FILE    what the table calls the machine; and the table as a file for another checkout
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench import processes, trials
from bench.comparison import Found, table
from bench.report import Table, program
from bench.servers import LLAMA_CPP_SERVER, LLAMA_SERVER, Server, Setting, check_libraries, serving

ROOM = 300
"""Tokens that a slot has room for beside the longest question: its template, and an answer."""


def measure(
    rounds: int = 5,
    tokens: int = 64,
    prompt: int = 2000,
    chat: int = 1500,
    streams: str = "1,4,8,16",
    peers: str = f"{LLAMA_SERVER},{LLAMA_CPP_SERVER}",
    threads: int = 0,
    device: str = "cpu",
    model: str = "",
    lib: str = "",
    llama_server: str = "",
    machine: str = "",
) -> Table:
    """Measure each server ``rounds`` times."""
    counts = [int(count) for count in streams.split(",")]
    ctx = max(prompt, chat + tokens) + ROOM
    setting = Setting.named(
        model=model,
        lib=lib,
        slots=max(*counts, trials.RUNNING + 1),
        ctx=ctx,
        threads=threads,
        device=device,
        llama_server=llama_server,
    )
    found = asyncio.run(
        _measure(setting, [name for name in peers.split(",") if name], _Sizes(rounds, tokens, prompt, chat), counts)
    )
    ran = (
        f"{setting.model.name} on {setting.threads} threads, {device}; one libllama for all "
        f"(sha256 {setting.libraries.digest}); "
        f"{setting.slots} slots of {ctx:,} tokens; answers of {tokens} tokens, temperature 0; {rounds} rounds, medians."
    )
    return table(
        found,
        name="engine" if device == "cpu" else f"engine-{device}",
        ran=ran,
        machine=machine or _machine(),
        counts=counts,
        chat_tokens=chat,
    )


async def _measure(setting: Setting, peers: list[str], sizes: "_Sizes", counts: list[int]) -> dict[str, Found]:
    async with serving(setting, peers) as servers:
        found = {server.name: Found(streams={count: [] for count in counts}) for server in servers}
        for server in servers:
            await trials.streams(server, 2, 8, number=0)  # so that nobody does anything for the first time
            await trials.prompt(server, sizes.prompt, number=10)
        check_libraries(setting, servers)
        trial = _Trials(servers, found, sizes)
        for n in range(sizes.rounds):
            number = (n + 1) * 100_000
            turn = servers[n % len(servers) :] + servers[: n % len(servers)]
            for count in counts:
                await trial.streams(turn, count, number + count * 100)
            await trial.prompt(turn, number + 10_000)
            await trial.beside(turn, number + 20_000)
            await trial.chat(turn, number + 30_000)
        for server in servers:
            found[server.name].rss_mb = server.process.rss_mb()
    return found


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How often all is tried, and how many tokens an answer, a long prompt and a chat's first question have."""

    rounds: int
    tokens: int
    prompt: int
    chat: int


class _Trials:
    """Each trial with each server in turn, while the others stand still."""

    def __init__(self, servers: list[Server], found: dict[str, Found], sizes: _Sizes) -> None:
        self._servers = servers
        self._found = found
        self._sizes = sizes

    async def streams(self, turn: list[Server], count: int, number: int) -> None:
        for server in turn:
            async with self._alone(server) as found:
                found.streams[count].append(await trials.streams(server, count, self._sizes.tokens, number))

    async def prompt(self, turn: list[Server], number: int) -> None:
        for server in turn:
            async with self._alone(server) as found:
                answer = await trials.prompt(server, self._sizes.prompt, number)
                found.prompt_s.append(answer.first_ms / 1000)
                found.prompt_tokens.append(answer.prompt_tokens)

    async def beside(self, turn: list[Server], number: int) -> None:
        for server in turn:
            if server.batches:  # who answers one after the other has no streams at once
                async with self._alone(server) as found:
                    found.beside.append(await trials.beside(server, self._sizes.prompt, number))

    async def chat(self, turn: list[Server], number: int) -> None:
        for server in turn:
            async with self._alone(server) as found:
                found.chat.append(await trials.chat(server, self._sizes.chat, number))

    @contextlib.asynccontextmanager
    async def _alone(self, server: Server) -> AsyncIterator[Found]:
        with contextlib.ExitStack() as still:
            for other in self._servers:
                if other is not server:
                    still.enter_context(processes.still(other.process))
            yield self._found[server.name]
            await processes.quiet(server.process)


def _machine() -> str:
    known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = next((line.partition(":")[2].strip() for line in known.splitlines() if line.startswith("model name")), "")
    return f"{name or 'unknown'}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    program(
        __doc__, measure, rounds=5, tokens=64, prompt=2000, chat=1500, streams="1,4,8,16",
        peers=f"{LLAMA_SERVER},{LLAMA_CPP_SERVER}",
        threads=0, device="cpu", model="", lib="", llama_server="", machine="",
    )  # fmt: skip
