"""A client whose streams are read from a ``Line``.

For the token path: what a worker says comes here, at thousands of events a second. Calls go as with any ``HttpClient``.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from rbee import log
from rbee.client.endpoint import CONNECT_S, Params, texts
from rbee.client.http import SILENCE_S, HttpClient
from rbee.client.line import WHOLE, Line
from rbee.client.lines import Lines
from rbee.errors import RbeeError, Timeout
from rbee.wire import codec
from rbee.wire.sse import Frame


class LineClient(HttpClient):
    """A ``Transport`` that also gives a stream as ``batches``, read here over plain HTTP, and by its parent over TLS.

    One stream at a time. Where ``lines`` is given, connections are taken from there, and left there.
    """

    lines: Lines | None = None
    _ahead: "asyncio.Future[Line] | None" = None
    _line: Line | None = None
    _released = False

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
        if self._is_tls:
            async for frame in super().stream(method, path, body=body, params=params, headers=headers):
                yield (frame,)
            return
        self._released = False
        line = self._line = await self._asked(method, path, body, params, headers)
        try:
            while True:
                if line.frames:
                    batch = tuple(line.frames)
                    line.frames.clear()
                    yield batch
                elif line.ended is None:
                    await line.more()
                elif line.ended is WHOLE and line.refused:
                    raise self._refused(bytes(line.body), line.status)
                elif line.ended is WHOLE:
                    return
                elif line.stale:
                    line = self._line = await self._asked_again(line.asked)
                else:
                    raise self._meant(line)
        finally:
            self._leave(line)

    def release(self) -> None:
        """Say that the stream that is read has told all there is: its connection may be kept."""
        self._released = True

    def hang_up(self) -> None:
        """End the stream that is read, as if the other side had."""
        if self._line is not None:
            self._line.close()

    def prepare(self) -> None:
        """Begin to connect for the next stream, while its caller has something else to wait for."""
        if self._ahead is None and not self._is_tls and not (self.lines and self.lines.has(self.base_url)):
            self._ahead = asyncio.create_task(self._connected(), name="connect-ahead")

    def ask_ahead(self, method: str, path: str, *, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """As ``prepare``, and ask as well: the next stream is to be of just that, and reads what came meanwhile.

        Over TLS nothing is asked before that.
        """
        if self._is_tls:
            return
        request = self._request(method, path, body, None, headers)
        kept = self._kept(request)
        if kept is None:
            self._ahead = asyncio.create_task(self._connected(request), name="ask-ahead")
        else:
            self._ahead = asyncio.get_running_loop().create_future()
            self._ahead.set_result(kept)

    async def close(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.add_done_callback(_hung_up)
            ahead.cancel()
        await super().close()

    @property
    def _is_tls(self) -> bool:
        return self.base_url.startswith("https:")

    async def _asked(
        self, method: str, path: str, body: Any, params: Params | None, headers: Mapping[str, str] | None
    ) -> Line:
        """Return a line that was asked, on the connection that was prepared if it is any good."""
        ahead, self._ahead = self._ahead, None
        line = None
        if ahead is not None:
            try:
                line = await ahead
            except asyncio.CancelledError:
                ahead.add_done_callback(_hung_up)
                raise
            if line.asked:
                return line
        request = self._request(method, path, body, params, headers)
        if line is not None and line.ended is None:
            line.ask(request)
            return line
        if line is not None:
            line.close()
        return self._kept(request) or await self._connected(request)

    async def _asked_again(self, request: bytes) -> Line:
        """Ask on a new connection what a kept one, it seems, did not carry any more; nobody knows that it did not."""
        log.debug("line.asked_again", url=self.base_url)
        try:
            return await self._connected(request)
        except RbeeError as error:
            error.details |= {"refused": False, "sent": True}
            raise

    def _kept(self, request: bytes) -> Line | None:
        return None if self.lines is None else self.lines.ask(self.base_url, request)

    def _leave(self, line: Line) -> None:
        self._line = None
        over = line.ended is WHOLE or (self._released and line.ended is None)
        if over and self.lines is not None:
            self.lines.keep(self.base_url, line)
        else:
            line.close()

    async def _connected(self, request: bytes = b"") -> Line:
        """Return a new line, asked where there is something to ask."""
        url = urlsplit(self.base_url)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, line = await asyncio.get_running_loop().create_connection(Line, url.hostname or "", url.port or 80)
        except TimeoutError:
            raise self._unanswered(CONNECT_S) from None
        except (OSError, ValueError) as error:
            raise self._away(error) from None
        if request:
            line.ask(request)
        return line

    def _request(
        self, method: str, path: str, body: Any, params: Params | None, headers: Mapping[str, str] | None
    ) -> bytes:
        url, given = urlsplit(self.base_url), texts(params)
        data = b"" if body is None else codec.dump_json(body).encode()
        kind = {"Content-Type": "application/json"} if data else {}
        length = {"Content-Length": str(len(data))}
        wanted = {"Host": url.netloc, "Accept": "text/event-stream", **self._headers, **kind, **length}
        target = f"{url.path}{path}?{urlencode(given)}" if given else f"{url.path}{path}"
        named = (f"{name}: {value}" for name, value in {**wanted, **(headers or {})}.items())
        return "\r\n".join([f"{method} {target} HTTP/1.1", *named, "", ""]).encode() + data

    def _meant(self, line: Line) -> RbeeError:
        if isinstance(line.ended, TimeoutError):
            return Timeout(f"{self.source} was silent for {SILENCE_S:g} s", details={"url": self.base_url})
        if line.status and not line.refused and not line.is_stream:
            return self.broken("no event stream")
        return self._away(line.ended or EOFError())


def _hung_up(ahead: "asyncio.Future[Line]") -> None:
    """Close a connection that nobody wants any more."""
    if not ahead.cancelled() and ahead.exception() is None:
        ahead.result().close()
