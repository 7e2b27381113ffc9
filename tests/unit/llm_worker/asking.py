"""An engine asked without a server around it."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from rbee.llm_worker.engine import Prompt
from rbee.llm_worker.llama.context import SlotContext
from rbee.llm_worker.model_engine import ModelEngine
from rbee.wire.events import Call, End, JobEvent, Token, last
from rbee.wire.inference import InferenceRequest
from tests.rig.waiting import PATIENCE


def request(**wanted: Any) -> InferenceRequest:
    """Without an end of the model's own: where it would come differs from one CPU to the next."""
    return InferenceRequest(**{"prompt": "hello", "max_tokens": 16, "ignore_eos": True, **wanted})


async def told(engine: ModelEngine, job: str, prompt: Prompt) -> AsyncIterator[JobEvent]:
    """Yield the events of a new job; one that is not read to its end is cancelled."""
    news: asyncio.Queue[JobEvent] = asyncio.Queue()

    def tell(events: Sequence[JobEvent]) -> None:
        for event in events:
            news.put_nowait(event)

    engine.submit(job, prompt, tell)
    over = False
    try:
        while not over:
            event = await news.get()
            over = last(event)
            yield event
    finally:
        if not over:
            engine.cancel(job)


async def run(engine: ModelEngine, job: str = "job-1", **wanted: Any) -> list[JobEvent]:
    prompt = await asyncio.to_thread(engine.prepare, request(**wanted))
    return await all_of(told(engine, job, prompt))


async def all_of(events: AsyncIterator[JobEvent]) -> list[JobEvent]:
    return [event async for event in events]


def text(events: Sequence[JobEvent]) -> str:
    return "".join(event.t for event in events if isinstance(event, Token))


def calls(events: Sequence[JobEvent]) -> list[Call]:
    return [event for event in events if isinstance(event, Call)]


def end(events: Sequence[JobEvent]) -> End:
    final = events[-1]
    assert isinstance(final, End), final
    return final


def slowed(engine: ModelEngine, after: int = 0) -> threading.Event:
    """Let no step of ``engine`` come back, but for the first ``after``, until the event that is returned is set.

    So whatever is done to an answer before that is done before its end, however late it is done.
    """
    context, go = engine._context, threading.Event()
    assert isinstance(context, SlotContext)
    step, begun = context.step, itertools.count()

    def slow() -> None:
        try:
            step()
        finally:
            if next(begun) >= after:
                go.wait()

    context.step = slow  # type: ignore[method-assign]
    return go


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20 * PATIENCE):
        while not what():  # noqa: ASYNC110  (what is asked for lives in other tasks and threads)
            await asyncio.sleep(0.005)
