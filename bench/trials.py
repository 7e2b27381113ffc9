"""What is tried with each server: streams at once, a long prompt alone and beside others, and a chat's second turn."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from bench.answers import Answer, Reader, ask, asking
from bench.prompts import long, question
from bench.servers import Server
from bench.threads import spent

RUNNING = 4
"""Streams that run while a long prompt arrives."""

SETTLED = 8
"""Pieces that each of them has told before it does."""

_NEVER_DONE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """``count`` answers at once, begun together: from the first question to the last token."""

    tokens_s: float
    first_ms: list[float]
    cpu_us: float
    python_us: float | None


async def streams(server: Server, count: int, tokens: int, number: int) -> Streams:
    """Ask ``count`` different questions together, each of which is answered with ``tokens``."""
    before = await spent(server.process, ours=server.ours)
    began_ns = time.monotonic_ns()
    answers = await _together(server, count, tokens, number)
    took_s = (max(answer.ended_ns for answer in answers) - began_ns) / 1e9
    after = await spent(server.process, ours=server.ours)
    made = count * tokens
    python_us = None
    if before.python_s is not None and after.python_s is not None:
        python_us = (after.python_s - before.python_s) / made * 1e6
    return Streams(
        tokens_s=made / took_s,
        first_ms=[answer.first_ms for answer in answers],
        cpu_us=(after.cpu_s - before.cpu_s) / made * 1e6,
        python_us=python_us,
    )


async def _together(server: Server, count: int, tokens: int, number: int) -> list[Answer]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(server, question(number + n), tokens)) for n in range(count)]
    return [task.result() for task in tasks]


async def prompt(server: Server, tokens: int, number: int) -> Answer:
    """Have a long prompt read, and answered with one token."""
    return await ask(server, long(tokens, number), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A long prompt that arrives while others are answered: their gaps meanwhile, and its own first token."""

    gaps_ms: list[float]
    first_ms: float


async def beside(server: Server, tokens: int, number: int) -> Beside:
    """Let a long prompt arrive while ``RUNNING`` answers are under way.

    Raises:
        RuntimeError: they ended before it was answered, or told nothing meanwhile: nothing was measured.
    """
    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for n in range(RUNNING):
            _, reader = await stack.enter_async_context(asking(server, question(number + n), _NEVER_DONE))
            readers.append(reader)
        await _settled(readers)
        answer = await prompt(server, tokens, number + RUNNING)
        if any(reader.done.done() for reader in readers):
            raise RuntimeError(f"{server.name} ended a stream before the long prompt was answered")
        running = [Answer(asked_ns=0, pieces=[*reader.pieces, answer.pieces[0]]) for reader in readers]
    gaps = [gap for each in running for gap in each.gaps_ms(answer.asked_ns, answer.pieces[0])]
    return Beside(gaps_ms=gaps, first_ms=answer.first_ms)


async def _settled(readers: list[Reader]) -> None:
    while not all(len(reader.pieces) >= SETTLED for reader in readers):
        if any(reader.done.done() for reader in readers):
            raise RuntimeError(f"no stream came: {bytes(readers[0].raw[:300])!r}")
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """First tokens of a chat's two turns."""

    first_ms: float
    second_ms: float


async def chat(server: Server, tokens: int, number: int) -> Chat:
    """Ask a question of about ``tokens``, and then, with its answer behind it, a short one."""
    turns = long(tokens, number)
    one = await ask(server, turns, 32, exact=not server.ends)
    turns += [{"role": "assistant", "content": one.text}, {"role": "user", "content": "Which one was the first?"}]
    two = await ask(server, turns, 8, exact=not server.ends)
    return Chat(first_ms=one.first_ms, second_ms=two.first_ms)
