"""An answer of Responses, whole or as a stream; the queen and each worker give it."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import sse
from rbee.daemon.app import reply
from rbee.errors import RbeeError
from rbee.wire import responses
from rbee.wire.events import JobEvent
from rbee.wire.sse import Frame


async def respond(
    request: Request, told: AsyncIterator[JobEvent], answer: responses.Answer, *, stream: bool, after: int = -1
) -> HTTPResponse | None:
    """Answer with what is ``told``, a generator of events; what fails is raised in it.

    Args:
        after: the number of the last event of the stream that its reader has already.
    """
    if not stream:
        async with _closing(told) as happened:
            return reply(answer.read([event async for event in happened]))
    await sse.stream(request, sse.failing_inside(_frames(told, answer, after), answer.failed))
    return None


async def _frames(told: AsyncIterator[JobEvent], answer: responses.Answer, after: int) -> AsyncIterator[Frame]:
    """Yield the events of the stream that come after number ``after``; a failure is one of those, and has a number.

    Where nothing of the answer was told there is no stream yet, and the failure is raised.
    """
    number = -1
    try:
        async with _closing(told) as happened:
            async for event in happened:
                for frame in answer.frames(event):
                    number += 1
                    if number > after:
                        yield frame
    except RbeeError as error:
        if after < 0 or number < 0:
            raise
        if number + 1 > after:
            yield answer.failed(error)


def _closing(told: AsyncIterator[JobEvent]) -> "contextlib.aclosing[AsyncGenerator[JobEvent, None]]":
    return contextlib.aclosing(cast(AsyncGenerator[JobEvent, None], told))
