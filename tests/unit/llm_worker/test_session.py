"""Numbered events, several readers, detaching, back-pressure."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from rbee.llm_worker.session import HIGH_WATER_EVENTS, Session
from rbee.wire.events import End, JobEvent, Started, StopReason, Token
from tests.unit.llm_worker.asking import until

END = End(tokens_in=1, tokens_out=2, stop_reason=StopReason.EOS, decode_ms=1, ttft_ms=1)


def paced(detach_s: float = 0.0) -> tuple[Session, list[str], list[bool]]:
    """Return a session, what it abandons, and how it held the model."""
    abandoned: list[str] = []
    held: list[bool] = []
    made = Session(job="a", detach_s=detach_s, abandon=abandoned.append, hold=lambda _, on: held.append(on))
    return made, abandoned, held


def session(detach_s: float = 0.0) -> tuple[Session, list[str]]:
    return paced(detach_s)[:2]


def token(n: int) -> Token:
    return Token(i=n, t="x")


async def take(events: AsyncIterator[tuple[int, JobEvent]], count: int) -> list[int]:
    return [(await anext(events))[0] for _ in range(count)]


async def leave(events: Any) -> None:
    await events.aclose()


async def test_events_are_numbered_from_one() -> None:
    one, _ = session()
    for event in (Started(worker="w", model="m", seed=1), token(0), END):
        one.extend([event])
    assert [number async for number, _ in one.read()] == [1, 2, 3]


async def test_a_reader_who_comes_back_goes_on_exactly() -> None:
    one, _ = session()
    for n in range(5):
        one.extend([token(n)])
    one.extend([END])
    assert [number async for number, _ in one.read(after=3)] == [4, 5, 6]
    assert [number async for number, _ in one.read(after=6)] == []


async def test_readers_wait_for_what_comes() -> None:
    one, _ = session()
    reading = asyncio.ensure_future(take(one.read(), 2))
    await asyncio.sleep(0)
    one.extend([token(0)])
    await asyncio.sleep(0)
    assert not reading.done()
    one.extend([token(1)])
    assert await reading == [1, 2]


async def test_several_readers_each_get_everything() -> None:
    one, _ = session()
    readers = [asyncio.ensure_future(take(one.read(), 3)) for _ in range(3)]
    for n in range(3):
        one.extend([token(n)])
    assert await asyncio.gather(*readers) == [[1, 2, 3]] * 3


async def test_without_detach_it_is_abandoned_when_its_reader_leaves() -> None:
    one, abandoned = session()
    one.extend([token(0)])
    events = one.read()
    await take(events, 1)
    assert abandoned == []
    await leave(events)
    await asyncio.sleep(0.01)
    assert abandoned == ["a"]


async def test_it_is_not_abandoned_while_somebody_else_reads() -> None:
    one, abandoned = session()
    one.extend([token(0)])
    first, second = one.read(), one.read()
    await take(first, 1)
    await take(second, 1)
    await leave(first)
    await asyncio.sleep(0.01)
    assert abandoned == []
    await leave(second)
    await asyncio.sleep(0.01)
    assert abandoned == ["a"]


async def test_detached_it_goes_on_until_the_time_is_up() -> None:
    one, abandoned = session(detach_s=0.1)
    one.extend([token(0)])
    events = one.read()
    await take(events, 1)
    clock = asyncio.get_running_loop().time
    left_s = clock()
    await leave(events)
    assert abandoned == []
    await until(lambda: bool(abandoned))
    assert clock() - left_s >= 0.1
    assert abandoned == ["a"]


async def test_a_reader_who_comes_back_in_time_stops_the_clock() -> None:
    one, abandoned = session(detach_s=0.1)
    one.extend([token(0)])
    events = one.read()
    await take(events, 1)
    await leave(events)
    again = one.read(after=0)
    assert await take(again, 1) == [1]
    await asyncio.sleep(0.2)
    assert abandoned == []
    await leave(again)


async def test_an_ended_session_is_never_abandoned() -> None:
    one, abandoned = session()
    one.extend([END])
    assert [number async for number, _ in one.read()] == [1]
    one.unattended()
    await asyncio.sleep(0.01)
    assert abandoned == []


async def test_a_reader_that_never_began_counts_as_gone() -> None:
    one, abandoned = session()
    one.unattended()
    await asyncio.sleep(0.01)
    assert abandoned == ["a"]


async def test_a_slow_reader_holds_the_model_and_nobody_does_not() -> None:
    one, _, held = paced()
    one.extend([token(n) for n in range(HIGH_WATER_EVENTS * 2)])
    assert held == []
    slow = one.read()
    await take(slow, 1)
    one.extend([token(0)])
    assert held == [True]
    await take(slow, HIGH_WATER_EVENTS)
    assert held == [True]
    await take(slow, 2)
    assert held == [True, False]
    await leave(slow)


async def test_the_last_event_waits_for_nobody() -> None:
    one, _, held = paced()
    slow = one.read()
    one.extend([token(0)])
    await take(slow, 1)
    one.extend([token(n) for n in range(HIGH_WATER_EVENTS)])
    one.extend([END])
    assert held == [True, False]
    await leave(slow)


async def test_release_lets_the_model_go() -> None:
    one, _, held = paced()
    slow = one.read()
    one.extend([token(0)])
    await take(slow, 1)
    one.extend([token(n) for n in range(HIGH_WATER_EVENTS)])
    one.release()
    assert held == [True, False]
    await leave(slow)


async def test_a_slow_reader_that_leaves_lets_the_model_go() -> None:
    one, _, held = paced(detach_s=60)
    slow = one.read()
    one.extend([token(0)])
    await take(slow, 1)
    one.extend([token(n) for n in range(HIGH_WATER_EVENTS)])
    await leave(slow)
    assert held == [True, False]
    one.extend([END])
