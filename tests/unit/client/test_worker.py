"""A worker over HTTP, against the fake one."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from rbee.client.worker import HttpWorkerControl, WorkerClient
from rbee.errors import Conflict, NotFound, Unauthorized, WorkerLost
from rbee.wire.events import End, Started, Token
from rbee.wire.inference import InferenceRequest
from tests.fakes.worker_server import SECRET, FakeWorker
from tests.unit.queen.conftest import soon

ASKED = InferenceRequest(prompt="hello", max_tokens=3, id="job-1")


@contextlib.asynccontextmanager
async def speaking(worker: FakeWorker, secret: str = SECRET) -> AsyncIterator[WorkerClient]:
    client = WorkerClient.at(worker.address, secret)
    try:
        yield client
    finally:
        await client.close()


async def test_a_generation_is_followed_to_its_end() -> None:
    async with FakeWorker().serve() as worker, speaking(worker) as client:
        events = [each async for told in client.infer(ASKED, request_id="trace-me") for each in told]
        assert [number for number, _ in events] == [1, 2, 3, 4, 5]
        assert [type(event) for _, event in events] == [Started, Token, Token, Token, End]
        assert worker.request_ids == ["trace-me"]
        assert [number async for told in client.attach("job-1", after=3) for number, _ in told] == [4, 5]


async def test_a_refusal_arrives_as_what_it_was() -> None:
    async with FakeWorker().serve() as worker, speaking(worker) as client:
        worker.refusals = [Conflict("generation job-1 runs already")]
        with pytest.raises(Conflict, match="runs already"):
            async for _ in client.infer(ASKED):
                pass
        with pytest.raises(NotFound):
            async for _ in client.attach("unknown"):
                pass


async def test_a_worker_wants_its_own_secret() -> None:
    async with FakeWorker().serve() as worker, speaking(worker, "some-other-secret") as client:
        with pytest.raises(Unauthorized):
            await client.cancel("job-1")


async def test_a_stream_that_breaks_off_is_a_lost_worker() -> None:
    async with FakeWorker().serve() as worker, speaking(worker) as client:
        worker.pause_at = 1
        seen = 0
        with pytest.raises(WorkerLost):
            async for told in client.infer(ASKED):
                seen += len(told)
                if any(isinstance(event, Token) for _, event in told):
                    await worker.die()
        assert seen == 2


async def test_nobody_there_is_a_lost_worker_and_says_that_nothing_listens() -> None:
    async with FakeWorker().serve() as worker:
        address = worker.address
    client = WorkerClient.at(address, SECRET)
    with pytest.raises(WorkerLost) as lost:
        await client.readiness()
    await client.close()
    assert lost.value.details["refused"] is True


async def test_cancelling_ends_the_generation() -> None:
    async with FakeWorker().serve() as worker, speaking(worker) as client:
        worker.pause_at = 1
        stream = client.infer(ASKED)
        await anext(stream)
        await client.cancel("job-1")
        events = [event async for told in stream for _, event in told]
        assert isinstance(events[-1], End) and events[-1].stop_reason == "cancelled"


async def test_a_pool_drains_its_workers() -> None:
    async with FakeWorker().serve() as worker:
        await HttpWorkerControl().drain(worker.address, SECRET)
        await soon(lambda: worker.draining)
