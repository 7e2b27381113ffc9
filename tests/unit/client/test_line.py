"""A stream on a connection of its own, against real servers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from rbee.client import line as module
from rbee.client.line import AHEAD
from rbee.client.line_client import LineClient
from rbee.errors import NoCapacity, PoolUnreachable, Timeout
from rbee.wire.sse import Frame
from tests.rig.waiting import PATIENCE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Says = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(number: int) -> Frame:
    return Frame(event="token", data=f'{{"i":{number}}}', id=str(number))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def server(says: Says) -> AsyncIterator[tuple[LineClient, list[bytes]]]:
    """A server that reads one request and then does what it is told; and the requests that it got."""
    asked: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            asked.append(head + await reader.readexactly(length))
            await says(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    client = LineClient(f"http://{host}:{port}", token="the-token", source="worker")
    async with listening:
        async with client:
            yield client, asked
        if serving:
            await asyncio.wait(serving, timeout=5 * PATIENCE)


async def one_by_one(client: LineClient, method: str, path: str, body: Any = None) -> AsyncGenerator[Frame, None]:
    async with contextlib.aclosing(client.batches(method, path, body=body)) as batches:
        async for batch in batches:
            for each in batch:
                yield each


async def read(client: LineClient) -> list[Frame]:
    return [each async for each in one_by_one(client, "POST", "/v1/inference", body={"prompt": "é"})]


def whole(*frames: Frame) -> Says:
    async def says(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"".join(chunk(each.encode()) for each in frames) + b"0\r\n\r\n")
        await writer.drain()

    return says


async def test_frames_come_in_order_and_the_request_is_whole() -> None:
    frames = [frame(n) for n in range(20)]
    async with server(whole(*frames)) as (client, asked):
        assert await read(client) == frames
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/inference HTTP/1.1\r\n")
    assert b"Authorization: Bearer the-token" in head and b"Accept: text/event-stream" in head
    assert body == '{"prompt":"é"}'.encode()


async def test_a_connection_that_was_prepared_is_used_and_one_that_nobody_wants_is_closed() -> None:
    async with server(whole(frame(1))) as (client, asked):
        client.prepare()
        assert await read(client) == [frame(1)]
        client.prepare()
        await client.close()
        assert len(asked) == 1


async def test_an_envelope_arrives_as_the_error_it_was() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"error":{"code":"no_capacity","message":"all slots are taken"}}'
        head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)

    async with server(refuse) as (client, _):
        with pytest.raises(NoCapacity, match="all slots are taken"):
            await read(client)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (HEAD + chunk(frame(1).encode()), "hung up before its answer was whole"),
        (b"", "hung up before its answer was whole"),
        (b"220 mail.example ESMTP\r\n", "speaks no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "no answer of rbee"),
    ],
    ids=["cut", "silent", "mail", "page"],
)
async def test_what_is_no_whole_stream_is_said_to_be_none(said: bytes, why: str) -> None:
    async def says(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    async with server(says) as (client, _):
        with pytest.raises(PoolUnreachable, match=why):
            await read(client)


async def test_nobody_there() -> None:
    async with server(whole()) as (client, _):
        gone = client.base_url
    with pytest.raises(PoolUnreachable) as refused:
        await read(LineClient(gone))
    assert refused.value.details["refused"] is True


async def test_one_that_falls_silent_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.05)

    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(frame(1).encode()))
        await reader.read()

    async with server(says) as (client, _):
        with pytest.raises(Timeout, match="was silent"):
            await read(client)


async def test_a_reader_that_is_slow_slows_the_other_side_and_loses_nothing() -> None:
    sent = asyncio.Event()

    async def says(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for n in range(20_000):
            writer.write(chunk(Frame(event="token", data="x" * 500, id=str(n)).encode()))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        sent.set()

    async with server(says) as (client, _):
        stream = one_by_one(client, "GET", "/v1/inference/x/events")
        numbers = [int((await anext(stream)).id or -1)]
        assert client._line is not None and client._line._transport is not None
        connection = client._line._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # or the kernel may take it all for us
        await asyncio.sleep(0.2)
        assert not sent.is_set()
        numbers += [int(each.id or -1) async for each in stream]
        assert numbers == list(range(20_000))
        assert AHEAD < 20_000


async def test_leaving_closes_the_connection() -> None:
    left = asyncio.Event()

    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(frame(1).encode()))
        await reader.read()
        left.set()

    async with server(says) as (client, _):
        stream = one_by_one(client, "GET", "/v1/inference/x/events")
        await anext(stream)
        await stream.aclose()
        async with asyncio.timeout(5 * PATIENCE):
            await left.wait()
