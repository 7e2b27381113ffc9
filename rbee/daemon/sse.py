"""An async iterator of frames as a response that knows when its reader is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from sanic import Request
from sanic.response import BaseHTTPResponse

from rbee.daemon import failures
from rbee.daemon.closing import closing
from rbee.errors import RbeeError
from rbee.wire.sse import KEEP_ALIVE, Frame

KEEP_ALIVE_S = 10.0
STATUS_STILL_OURS_S = KEEP_ALIVE_S - 1
"""Later the response may have begun with 200 and a comment; a failure has to be an event in it."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def stream(
    request: Request, frames: AsyncIterator[Frame], *, headers: Mapping[str, str] | None = None, status: int = 200
) -> None:
    """Send ``frames``; a comment every 10 s while none comes.

    The response begins with the iterator's first item, or that comment, so that a failure before it is an ordinary
    error response. When the reader goes away the iterator is closed and CancelledError goes on.
    """
    line = _Line(request, {**_HEADERS, **(headers or {})}, status)
    keeping = asyncio.create_task(line.keep_alive())
    try:
        async with closing(frames) as told:
            async for frame in told:
                await line.send(frame.encode())
        await line.end()
    finally:
        keeping.cancel()


def failing_inside(frames: AsyncIterator[Frame], told: Callable[[RbeeError], Frame]) -> AsyncIterator[Frame]:
    """Yield ``frames``; a failure is raised while it can still be the response's status, and told as a frame after."""
    return failures.inside(frames, told, ours_s=STATUS_STILL_OURS_S)


class _Line:
    """A response and when it was last used. One task for all of a stream, since a timer for each frame costs more."""

    def __init__(self, request: Request, headers: dict[str, str], status: int) -> None:
        self._request = request
        self._headers, self._status = headers, status
        self._response: BaseHTTPResponse | None = None
        self._free = asyncio.Lock()
        self._used_s = asyncio.get_running_loop().time()

    async def send(self, data: bytes) -> None:
        async with self._free:
            await (self._response or await self._begin()).send(data)
        self._used_s = asyncio.get_running_loop().time()

    async def end(self) -> None:
        async with self._free:
            await (self._response or await self._begin()).send("", end_stream=True)

    async def keep_alive(self) -> None:
        """Say something whenever nothing was said for ``KEEP_ALIVE_S``."""
        loop = asyncio.get_running_loop()
        while True:
            idle_s = loop.time() - self._used_s
            if idle_s >= KEEP_ALIVE_S:
                await self.send(KEEP_ALIVE)
            else:
                await asyncio.sleep(KEEP_ALIVE_S - idle_s)

    async def _begin(self) -> BaseHTTPResponse:
        self._response = await self._request.respond(
            status=self._status, headers=self._headers, content_type="text/event-stream; charset=utf-8"
        )
        return self._response
