"""Many readers of streams at once, in as little time as Python allows: what a reader costs is not what is measured.

Every token of ``paced_worker`` says when it was sent, so each reader knows how long it was under way, and what passed
between two of them.
"""

import asyncio
import re
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

_SENT = re.compile(rb"@(\d+) ")
_ENDED = b"0\r\n\r\n"
FAR_S = 60.0


@dataclass(slots=True)
class Heard:
    """What all readers of one target heard, in ms.

    Args:
        first: from the request to the first token.
        gaps: from one token to the next, of the same stream.
        under_way: from when the worker sent a token to when it was read.
    """

    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    under_way: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask, and what: ``address`` is host:port, ``body`` is sent as it is."""

    name: str
    address: str
    path: str
    body: bytes
    accept: str = "text/event-stream"
    token: str = ""

    def request(self) -> bytes:
        secret = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {self.accept}\r\n{secret}"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        ).encode() + self.body


class Reader(asyncio.Protocol):
    """One connection, kept; asks again when an answer has ended."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._transport: asyncio.WriteTransport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._rest = b""
        self._asked_ns = self._last_ns = 0
        self.tokens = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        whole, self._rest = self._rest + data, b""
        cut = whole.rfind(b"\n") + 1
        for sent in _SENT.findall(whole, 0, cut):
            self._heard.under_way.append((now_ns - int(sent)) / 1e6)
            (self._heard.gaps if self._last_ns else self._heard.first).append(
                (now_ns - (self._last_ns or self._asked_ns)) / 1e6
            )
            self._last_ns = now_ns
            self.tokens += 1
        self._rest = whole[cut:]
        ended = self._ended
        if ended is None or ended.done():
            return
        if self.tokens and whole.endswith(_ENDED):
            ended.set_result(None)
        elif not self.tokens and whole.startswith(b"HTTP/1.1 ") and not whole.startswith(b"HTTP/1.1 200"):
            ended.set_exception(RuntimeError(f"no stream came back: {whole[:300]!r}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error or ConnectionResetError(f"closed after {self.tokens} tokens"))

    async def ask(self, request: bytes, tokens: int) -> None:
        """Raises RuntimeError when another number of tokens came: something went wrong that must not pass for speed."""
        assert self._transport is not None
        self._ended = asyncio.get_running_loop().create_future()
        self._last_ns = self.tokens = 0
        self._rest = b""
        self._asked_ns = time.monotonic_ns()
        self._transport.write(request)
        async with asyncio.timeout(FAR_S):
            await self._ended
        if self.tokens != tokens:
            raise RuntimeError(f"{self.tokens} tokens came, and {tokens} were asked for")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def load(target: Target, *, streams: int, tokens: int, turns: int, spread_s: float) -> Heard:
    """Read ``streams`` streams at once, each ``turns`` times; the first request of each comes within ``spread_s``."""
    heard = Heard()
    request = target.request()
    loop = asyncio.get_running_loop()
    host, _, port = target.address.rpartition(":")

    async def read(number: int) -> None:
        await asyncio.sleep(spread_s * number / streams)
        _, reader = await loop.create_connection(lambda: Reader(heard), host, int(port))
        try:
            for _ in range(turns):
                await reader.ask(request, tokens)
        finally:
            reader.close()

    await gathered([read(number) for number in range(streams)])
    return heard


async def gathered(reading: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in reading:
            group.create_task(each)
