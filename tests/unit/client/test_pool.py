"""A pool over HTTP, against one whose streams end too early. What goes right is held in tests/contract."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from sanic import Request

from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.daemon.access import Access
from rbee.daemon.app import create_app
from rbee.errors import PoolUnreachable, RbeeError, Unauthorized, WorkerOom
from rbee.wire.catalog import DownloadSpec
from rbee.wire.sse import Frame
from rbee.wire.workers import Backend, SpawnEvent, WorkerSpec
from tests.fakes.pool import FakePool
from tests.support.pool_daemon import pool_daemon
from tests.support.serving import served

SPEC = WorkerSpec(backend=Backend.CPU, model="tiny")
PROGRESS = Frame(event="progress", data='{"state":"progress","progress":0.5,"news":"of a later version"}')


@contextlib.asynccontextmanager
async def saying(*frames: Frame, cut: bool = False) -> AsyncIterator[PoolClient]:
    """A client of a FAKE pool that answers each spawn with ``frames``, and then ends or is cut."""

    async def spawn(request: Request) -> None:
        response = await request.respond(content_type="text/event-stream")
        for frame in frames:
            await response.send(frame.encode())
        if cut:
            assert request.transport is not None
            request.transport.abort()

    app = create_app("saying-pool", source="pool:blep", access=Access(callers={}), metrics=CollectorRegistry(),
                     body_limit_bytes=1 << 20, connections=9)  # fmt: skip
    app.add_route(spawn, "/v2/workers", methods=["POST"])
    async with served(app) as url, HttpClient(url, source="pool blep") as http:
        yield PoolClient(http)


async def each(client: PoolClient) -> list[SpawnEvent]:
    return [event async for event in client.spawn_worker(SPEC)]


@pytest.mark.parametrize("frames", [(), (PROGRESS,)])
async def test_a_stream_without_a_result_is_a_failure(frames: tuple[Frame, ...]) -> None:
    async with saying(*frames) as client:
        with pytest.raises(RbeeError, match="pool blep ended the stream of /v2/workers before its result"):
            await each(client)


async def test_a_stream_that_is_cut_is_a_pool_that_went_away() -> None:
    async with saying(PROGRESS, cut=True) as client:
        with pytest.raises(PoolUnreachable):
            await each(client)


async def test_the_event_error_is_raised_as_what_it_is() -> None:
    envelope = '{"error":{"code":"worker_oom","message":"it grew too large","source":"pool:blep"}}'
    async with saying(PROGRESS, Frame(event="error", data=envelope)) as client:
        with pytest.raises(WorkerOom, match="it grew too large") as raised:
            await each(client)
    assert raised.value.source == "pool:blep"


async def test_fields_of_a_later_version_are_passed_over() -> None:
    ready = Frame(event="ready", data='{"state":"ready"}')
    async with saying(PROGRESS, ready) as client:
        assert [event.progress for event in await each(client)] == [0.5, None]


async def test_the_token_is_presented() -> None:
    token = "the-fleet-token-of-the-tests"
    async with pool_daemon(FakePool(), tokens=(token,)) as url:
        async with HttpClient(url, token=token) as http:
            assert (await PoolClient(http).get_state()).id == "blep"
        async with HttpClient(url, token="another-token-altogether") as http:
            with pytest.raises(Unauthorized):
                await anext(PoolClient(http).download_model(DownloadSpec(model="tiny")))
