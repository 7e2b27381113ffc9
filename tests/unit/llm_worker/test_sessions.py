"""Every session ends with an event, whatever becomes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rbee.llm_worker.loading import Loading
from rbee.llm_worker.metrics import WorkerMetrics
from rbee.llm_worker.sessions import Sessions
from rbee.wire.events import End, StopReason
from rbee.wire.inference import InferenceRequest
from tests.unit.llm_worker.fakes import FakeModel, engine_on


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Sessions]:
    engine, loading = engine_on(FakeModel().loader), Loading("fake")
    await loading.run(engine.load)
    yield Sessions(engine=engine, loading=loading, metrics=WorkerMetrics(), used=lambda: None)
    engine.close()


def request(job: str, **wanted: int) -> InferenceRequest:
    return InferenceRequest(id=job, prompt="hello", detach_s=60, **wanted)


async def test_one_that_is_cancelled_before_it_could_do_anything_ends() -> None:
    async with opened() as sessions:
        session = sessions.open(request("a"))
        sessions.cancel("a")
        events = [event async for _, event in session.read()]
        assert [type(event) for event in events] == [End]
        assert isinstance(events[-1], End)
        assert events[-1].stop_reason is StopReason.CANCELLED
        await sessions.quiet()


async def test_an_id_may_be_used_again_while_its_predecessor_is_put_away() -> None:
    async with opened() as sessions:
        for _ in range(50):
            session = sessions.open(request("a", max_tokens=2))
            events = [event async for _, event in session.read()]
            assert isinstance(events[-1], End)
            assert events[-1].tokens_out == 2
        await sessions.quiet()
        assert sessions.live == 0


async def test_each_moment_at_which_one_is_cancelled_ends_it() -> None:
    async with opened() as sessions:
        for turns in range(40):
            session = sessions.open(request(f"job-{turns}", max_tokens=1000))
            for _ in range(turns):
                await asyncio.sleep(0)
            sessions.cancel(session.job)
            events = [event async for _, event in session.read()]
            assert isinstance(events[-1], End), events
        await sessions.quiet()
