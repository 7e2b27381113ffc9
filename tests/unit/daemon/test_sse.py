"""Frames as a response: kept alive while none comes, closed when the reader goes."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from sanic import Request

from rbee.client.http import HttpClient
from rbee.daemon import sse
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app
from rbee.errors import NoCapacity
from rbee.wire.sse import KEEP_ALIVE, Frame
from tests.rig.waiting import PATIENCE
from tests.support.serving import served


def app_of(frames: AsyncIterator[Frame]) -> App:
    app = create_app(
        f"sse-{uuid4().hex[:8]}",
        source="test",
        access=Access(callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=10,
    )

    async def handler(request: Request) -> None:
        await sse.stream(request, frames)

    app.add_route(handler, "/events")
    return app


async def asked(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    return reader, writer


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.02)


@pytest.mark.usefixtures("short")
async def test_a_comment_comes_for_as_long_as_nothing_else_does() -> None:
    heard = [asyncio.Event(), asyncio.Event()]

    async def frames() -> AsyncIterator[Frame]:
        for n, each in enumerate(heard):
            await each.wait()
            yield Frame(event="token", data=str(n))

    async with served(app_of(frames())) as url, asyncio.timeout(10 * PATIENCE):
        reader, writer = await asked(url)
        for n, each in enumerate(heard):
            await reader.readuntil(KEEP_ALIVE)
            each.set()
            await reader.readuntil(b"data: %d" % n)
        after = await reader.read()
        assert KEEP_ALIVE not in after and after.endswith(b"0\r\n\r\n")
        writer.close()
        await writer.wait_closed()


async def test_nothing_is_said_between_frames_that_come() -> None:
    async def frames() -> AsyncIterator[Frame]:
        for n in range(100):
            yield Frame(event="token", data=str(n))

    async with served(app_of(frames())) as url, HttpClient(url) as http:
        assert [each.data async for each in http.stream("GET", "/events")] == [str(n) for n in range(100)]


async def test_what_fails_before_the_first_frame_is_an_ordinary_answer() -> None:
    async def frames() -> AsyncIterator[Frame]:
        raise NoCapacity("nothing is free")
        yield Frame(event="", data="")

    async with served(app_of(frames())) as url, HttpClient(url) as http:
        with pytest.raises(NoCapacity, match="nothing is free"):
            [each async for each in http.stream("GET", "/events")]


async def test_a_reader_that_leaves_closes_the_frames() -> None:
    closed = asyncio.Event()

    async def frames() -> AsyncIterator[Frame]:
        try:
            yield Frame(event="token", data="1")
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with served(app_of(frames())) as url, HttpClient(url) as http:
        stream = http.stream("GET", "/events")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5 * PATIENCE):
            await closed.wait()
