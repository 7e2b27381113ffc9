"""A stream of events on a connection of its own, with little between the socket and whoever reads.

For the token path: what a worker says comes here, at thousands of events a second. Calls go as with any ``HttpClient``.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import httptools

from rbee.client.endpoint import CONNECT_S, NotHttp, Params, texts
from rbee.client.http import SILENCE_S, HttpClient
from rbee.errors import RbeeError, Timeout
from rbee.wire import codec
from rbee.wire.sse import Frame, Parser

AHEAD = 512
"""Frames that nobody has taken yet; then the other side has to wait."""


class LineClient(HttpClient):
    """A ``Transport`` whose streams are read here, over plain HTTP; a TLS one reads them as its parent does."""

    _ahead: "asyncio.Task[_Line] | None" = None
    _line: "_Line | None" = None

    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Frame]:
        async for batch in self.batches(method, path, body=body, params=params, headers=headers):
            for frame in batch:
                yield frame

    async def batches(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Sequence[Frame], None]:
        """As ``stream``, but whatever has come since is given at once: to give each by itself costs more than it."""
        if self.base_url.startswith("https:"):
            async for frame in super().stream(method, path, body=body, params=params, headers=headers):
                yield (frame,)
            return
        line = self._line = await self._taken()
        try:
            if not line.asked:
                line.ask(self._request(method, path, body, params, headers or {}))
            while True:
                if line.frames:
                    batch = tuple(line.frames)
                    line.frames.clear()
                    yield batch
                elif line.ended is None:
                    await line.more()
                elif line.ended is not _WHOLE:
                    raise self._meant(line, line.ended)
                elif line.refused:
                    raise self._refused(bytes(line.body), line.status)
                else:
                    return
        finally:
            line.close()

    def hang_up(self) -> None:
        """End the stream that is read, as if the other side had."""
        if self._line is not None:
            self._line.close()

    def prepare(self) -> None:
        """Begin to connect for the next stream, while its caller has something else to wait for."""
        if self._ahead is None and not self.base_url.startswith("https:"):
            self._ahead = asyncio.create_task(self._connected(), name="connect-ahead")

    def ask_ahead(self, method: str, path: str, *, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """As ``prepare``, and ask as well: the next stream is to be of just that, and reads what came meanwhile."""
        request = self._request(method, path, body, None, headers or {})
        self._ahead = asyncio.create_task(self._asked(request), name="ask-ahead")

    async def close(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.add_done_callback(_hung_up)
            ahead.cancel()
        await super().close()

    async def _taken(self) -> "_Line":
        """Return the connection that was prepared, if it is any good, else a new one."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return await self._connected()
        try:
            line = await ahead
        except asyncio.CancelledError:
            ahead.add_done_callback(_hung_up)
            raise
        if line.ended is None or line.asked:
            return line
        line.close()
        return await self._connected()

    async def _connected(self) -> "_Line":
        url = urlsplit(self.base_url)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, line = await asyncio.get_running_loop().create_connection(_Line, url.hostname or "", url.port or 80)
        except TimeoutError:
            raise self._unanswered(CONNECT_S) from None
        except (OSError, ValueError) as error:
            raise self._away(error) from None
        return line

    async def _asked(self, request: bytes) -> "_Line":
        line = await self._connected()
        line.ask(request)
        return line

    def _request(
        self, method: str, path: str, body: Any, params: Params | None, headers: Mapping[str, str]
    ) -> bytes:  # fmt: skip
        url, given = urlsplit(self.base_url), texts(params)
        data = b"" if body is None else codec.dump_json(body).encode()
        kind = {"Content-Type": "application/json"} if data else {}
        length = {"Content-Length": str(len(data))}
        wanted = {"Host": url.netloc, "Accept": "text/event-stream", **self._headers, **kind, **length, **headers}
        target = f"{url.path}{path}?{urlencode(given)}" if given else f"{url.path}{path}"
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in wanted.items())]
        return "\r\n".join([*lines, "", ""]).encode() + data

    def _meant(self, line: "_Line", ended: Exception) -> RbeeError:
        if isinstance(ended, TimeoutError):
            return Timeout(f"{self.source} was silent for {SILENCE_S:g} s", details={"url": self.base_url})
        if line.status and not line.refused and not line.is_stream:
            return self.broken("no event stream")
        return self._away(ended)


def _hung_up(ahead: "asyncio.Task[_Line]") -> None:
    """Close a connection that nobody wants any more."""
    if not ahead.cancelled() and ahead.exception() is None:
        ahead.result().close()


_WHOLE = EOFError("the answer is whole")


class _Line(asyncio.Protocol):
    """One request, one answer. ``ended`` says why there will be no more: ``_WHOLE`` when that was all."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.body = bytearray()
        self.status = 0
        self.is_stream = False
        self.asked = False
        self.ended: Exception | None = None
        self._events = Parser()
        self._http = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._paused = False
        self._watch = self._loop.call_later(SILENCE_S, self._look)

    @property
    def refused(self) -> bool:
        return bool(self.status) and self.status // 100 != 2

    def ask(self, request: bytes) -> None:
        self.asked = True
        if self._transport is not None:
            self._transport.write(request)

    async def more(self) -> None:
        """Return when something came or it is over."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._waiter = self._loop.create_future()
        await self._waiter

    def close(self) -> None:
        self._watch.cancel()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        try:
            self._http.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._end(NotHttp(str(error.__context__ or error)))
        except httptools.HttpParserError as error:
            self._end(NotHttp(str(error)))
        if len(self.frames) > AHEAD and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or EOFError("closed before its answer was whole"))
        self._tell()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.is_stream = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        self.status = self._http.get_status_code()
        if not self.refused and not self.is_stream:
            self._end(NotHttp("no event stream"))

    def on_body(self, piece: bytes) -> None:
        if self.refused:
            self.body += piece
        else:
            self.frames.extend(self._events.feed(piece))

    def on_message_complete(self) -> None:
        self._end(_WHOLE)

    def _end(self, why: Exception) -> None:
        self.ended = self.ended or why

    def _tell(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """End it when nothing came for too long; one timer for all of a stream."""
        left_s = self._heard_s + SILENCE_S - self._loop.time()
        if left_s > 0 or self._paused:
            self._watch = self._loop.call_later(max(1.0, left_s), self._look)
            return
        self._end(TimeoutError())
        self._tell()
