"""A daemon that stops answers whom it has accepted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from prometheus_client import CollectorRegistry
from sanic import Sanic

from rbee.adapters.notify import bind_socket
from rbee.daemon import protocol
from rbee.daemon.access import Access
from rbee.daemon.app import create_app
from rbee.daemon.protocol import PatientProtocol
from tests.rig.waiting import PATIENCE

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Recorded(PatientProtocol):
    """Ours, and remembered: the server's own set of connections cannot be asked for."""

    open: ClassVar[set["Recorded"]] = set()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.open.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.open.discard(self)


@contextlib.asynccontextmanager
async def patient_server() -> AsyncIterator[tuple[Any, int]]:
    app = create_app(
        "patient", source="test", access=Access(callers={}), metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20, connections=8,
    )  # fmt: skip
    app.config.TOUCHUP = False
    sock = bind_socket("127.0.0.1:0")
    server = await app.create_server(sock=sock, return_asyncio_server=True, protocol=Recorded)
    assert server is not None
    await server.startup()
    await server.before_start()
    await server.after_start()
    try:
        yield server, sock.getsockname()[1]
    finally:
        for connection in list(Recorded.open):
            connection.abort()
        await server.close()
        await asyncio.sleep(0)
        Sanic._app_registry.pop("patient", None)


async def stop_accepting(server: Any) -> None:
    """What Sanic's runner does when it stops."""
    while not Recorded.open:  # noqa: ASYNC110  (nothing to await)
        await asyncio.sleep(0)
    server.close()
    for connection in list(Recorded.open):
        connection.close_if_idle()


async def test_a_connection_accepted_before_the_end_is_answered_and_then_closed() -> None:
    async with patient_server() as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await stop_accepting(server)
        writer.write(HEALTH)
        answer = await asyncio.wait_for(reader.read(), 10 * PATIENCE)
        assert answer.startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_connection_between_requests_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "NEWCOMER_S", 60.0)
    async with patient_server() as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEALTH)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"}")
        while next(iter(Recorded.open)).http.stage.name != "IDLE":  # noqa: ASYNC110  (nothing to await)
            await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await stop_accepting(server)
        assert await asyncio.wait_for(reader.read(), 10 * PATIENCE) == b""
        assert asyncio.get_running_loop().time() - began < protocol.NEWCOMER_S
        writer.close()


async def test_a_silent_connection_is_closed_after_a_moment() -> None:
    async with patient_server() as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await stop_accepting(server)
        assert await asyncio.wait_for(reader.read(), 10 * PATIENCE) == b""
        writer.close()
