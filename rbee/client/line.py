"""A connection for streams, with little between the socket and whoever reads: one question at a time, its answer."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from rbee.client.endpoint import NotHttp
from rbee.client.http import SILENCE_S
from rbee.wire.sse import Frame, Parser

AHEAD = 512
"""Frames that nobody has taken yet; then the other side has to wait."""

IDLE_S = 20.0
"""So long one waits for the next question; the other side keeps it for 75 s."""

LINGER_S = 1.0
"""So long the end of an answer may take whose last event has been read."""

STALE_S = 1.0
"""A kept connection that breaks so soon after a question, without a word, was broken before it."""

WHOLE = EOFError("the answer is whole")


def _nothing() -> None:
    """Nobody waits for this line."""


class Line(asyncio.Protocol):
    """
    Attributes:
        asked: the question whose answer is read; empty before the first.
        frames: of that answer, those that nobody has taken yet; ``body`` is what a refusal says instead.
        ended: why there will be no more: ``WHOLE`` when that was all.
    """

    def __init__(self) -> None:
        self.asked = b""
        self.frames: deque[Frame] = deque()
        self.body = bytearray()
        self.status = 0
        self.is_stream = False
        self.ended: Exception | None = None
        self._events = Parser()
        self._http = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._asked_s = self._ended_s = self._loop.time()
        self._asked_before = self._lasts = self._closed = self._paused = False
        self._idle = self._resting = False
        self._rested = self._lost = _nothing
        self._watch = self._loop.call_later(SILENCE_S, self._look)

    @property
    def refused(self) -> bool:
        return bool(self.status) and self.status // 100 != 2

    @property
    def stale(self) -> bool:
        """Whether it had been broken before its last question, as far as one can tell: that may be asked elsewhere."""
        broke = isinstance(self.ended, OSError | EOFError) and self.ended is not WHOLE and not self._closed
        return broke and self._asked_before and not self.status and self._ended_s - self._asked_s < STALE_S

    def ask(self, request: bytes) -> None:
        """Send a question. What was answered before is forgotten."""
        self._idle = self._resting = False
        self._asked_before = bool(self.asked)
        self.asked = request
        if self.ended is WHOLE:
            self.frames.clear()
            self.body.clear()
            self._events = Parser()
            self.status, self.is_stream, self.ended = 0, False, None
        self._heard_s = self._asked_s = self._loop.time()
        self._watch.cancel()
        self._watch = self._loop.call_later(SILENCE_S, self._look)
        if self._transport is not None:
            self._transport.write(request)

    async def more(self) -> None:
        """Return when something came or it is over."""
        self._go_on()
        self._waiter = self._loop.create_future()
        await self._waiter

    def rest(self, rested: Callable[[], None], lost: Callable[[], None]) -> None:
        """Read what is left of an answer for nobody.

        Args:
            rested: called when another question may be asked; never where the other side will not have it.
            lost: called when it may not any more.
        """
        self._watch.cancel()
        self._resting, self._rested, self._lost = True, rested, lost
        self._go_on()
        if self.ended is WHOLE:
            self._now_idle()
        elif self.ended is None:
            self._watch = self._loop.call_later(LINGER_S, self.close)
        else:
            self.close()

    def close(self) -> None:
        """End it now; what was not sent yet never is, so that a peer who takes nothing cannot keep it open."""
        self._closed = True
        self._watch.cancel()
        self._no_longer_idle()
        self._end(EOFError("we closed it"))
        self._tell()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._idle:
            self.close()  # nobody asked
            return
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
        if self._resting and self.ended is not None:
            self._now_idle()
        self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        self._no_longer_idle()
        self._end(error or EOFError("closed before its answer was whole"))
        self._tell()

    def on_message_begin(self) -> None:
        if self.ended is WHOLE:
            self._lasts = False  # nobody asked for another answer

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
        self._lasts = self.ended is None and self._http.should_keep_alive()
        self._end(WHOLE)

    def _end(self, why: Exception) -> None:
        if self.ended is None:
            self.ended, self._ended_s = why, self._loop.time()

    def _tell(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _go_on(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _now_idle(self) -> None:
        gone = self._transport is None or self._transport.is_closing()
        if self.ended is not WHOLE or gone or not self._lasts:
            self.close()
            return
        self._watch.cancel()
        self._watch = self._loop.call_later(IDLE_S, self.close)
        self._idle, self._resting = True, False
        self._rested()

    def _no_longer_idle(self) -> None:
        if self._idle:
            self._idle = False
            self._watch.cancel()
            self._lost()

    def _look(self) -> None:
        """End it when nothing came for too long; one timer for all of a stream."""
        left_s = self._heard_s + SILENCE_S - self._loop.time()
        if left_s > 0 or self._paused:
            self._watch = self._loop.call_later(max(1.0, left_s), self._look)
            return
        self._end(TimeoutError())
        self._tell()
