"""An async iterator of objects as a response of one line of JSON for each."""

from collections.abc import AsyncIterator
from typing import Any

from sanic import Request
from sanic.response import BaseHTTPResponse

from rbee.daemon.closing import closing
from rbee.wire import codec

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def stream(request: Request, lines: AsyncIterator[Any]) -> None:
    """Send ``lines``.

    The response begins with the first of them, so that a failure before it is an ordinary error response; this form has
    no comments that could keep it alive meanwhile. When the reader goes away the iterator is closed and CancelledError
    goes on.
    """
    response: BaseHTTPResponse | None = None
    async with closing(lines) as told:
        async for line in told:
            response = response or await _begun(request)
            await response.send(f"{codec.dump_json(line)}\n")
    await (response or await _begun(request)).send("", end_stream=True)


async def _begun(request: Request) -> BaseHTTPResponse:
    begun: BaseHTTPResponse = await request.respond(headers=_HEADERS, content_type="application/x-ndjson")
    return begun
