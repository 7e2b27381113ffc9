"""An async iterator of frames as a response that knows when its reader is gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from sanic import Request
from sanic.response import BaseHTTPResponse

from rbee.wire.sse import KEEP_ALIVE, Frame

KEEP_ALIVE_S = 10.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def stream(
    request: Request, frames: AsyncIterator[Frame], *, headers: Mapping[str, str] | None = None, status: int = 200
) -> None:
    """Send ``frames``; a comment every 10 s while none comes.

    The iterator's first item is awaited before the response begins, so that a failure before it is an
    ordinary error response. When the reader goes away the iterator is closed and CancelledError goes on.
    """
    pending: asyncio.Task[Frame] = asyncio.ensure_future(_next(frames))
    keeping: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({pending}, timeout=KEEP_ALIVE_S)
        if pending.done() and isinstance(pending.exception(), StopAsyncIteration):
            pending.exception()
        elif pending.done():
            pending.result()
        response = await request.respond(
            status=status, headers={**_HEADERS, **(headers or {})}, content_type="text/event-stream; charset=utf-8"
        )
        line = _Line(response)
        keeping = asyncio.create_task(line.keep_alive())
        if not pending.done():
            await line.send(KEEP_ALIVE)
        with contextlib.suppress(StopAsyncIteration):
            await line.send((await pending).encode())
            async for frame in frames:
                await line.send(frame.encode())
        await response.eof()
    finally:
        if keeping is not None:
            keeping.cancel()
        await _close(pending, frames)


class _Line:
    """A response and when it was last used. One task for all of a stream, since a timer for each frame costs more."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self._free = asyncio.Lock()
        self._used_s = asyncio.get_running_loop().time()

    async def send(self, data: bytes) -> None:
        async with self._free:
            await self._response.send(data)
        self._used_s = asyncio.get_running_loop().time()

    async def keep_alive(self) -> None:
        """Say something whenever nothing was said for ``KEEP_ALIVE_S``."""
        loop = asyncio.get_running_loop()
        while True:
            idle_s = loop.time() - self._used_s
            if idle_s >= KEEP_ALIVE_S:
                await self.send(KEEP_ALIVE)
            else:
                await asyncio.sleep(KEEP_ALIVE_S - idle_s)


async def _next(frames: AsyncIterator[Frame]) -> Frame:
    return await anext(frames)


async def _close(pending: "asyncio.Task[Frame]", frames: AsyncIterator[Frame]) -> None:
    """End the iterator's own cleanup before ours is over, also when we are being cancelled."""
    if not pending.done():
        pending.cancel()
        await asyncio.wait({pending})
    if pending.done() and not pending.cancelled():
        pending.exception()
    close = getattr(frames, "aclose", None)
    if close is not None:
        await close()
