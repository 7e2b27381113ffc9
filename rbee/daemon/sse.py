"""An async iterator of frames as a response that knows when its reader is gone."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from sanic import Request

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
    try:
        await asyncio.wait({pending}, timeout=KEEP_ALIVE_S)
        if pending.done() and isinstance(pending.exception(), StopAsyncIteration):
            pending.exception()
        elif pending.done():
            pending.result()
        response = await request.respond(
            status=status, headers={**_HEADERS, **(headers or {})}, content_type="text/event-stream; charset=utf-8"
        )
        while True:
            done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE_S)
            if not done:
                await response.send(KEEP_ALIVE)
                continue
            try:
                frame = pending.result()
            except StopAsyncIteration:
                break
            await response.send(frame.encode())
            pending = asyncio.ensure_future(_next(frames))
        await response.eof()
    finally:
        await _close(pending, frames)


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
