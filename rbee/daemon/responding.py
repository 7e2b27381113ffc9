"""An answer of a dialect, whole or as a stream; the queen and each worker give it."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Protocol

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import sse
from rbee.daemon.app import reply
from rbee.daemon.closing import closing
from rbee.errors import RbeeError
from rbee.wire.events import JobEvent
from rbee.wire.sse import Frame


class Answer(Protocol):
    """What a dialect makes of the events of a job."""

    def read(self, events: Sequence[JobEvent]) -> Any:
        """Return the whole answer."""

    def frames(self, event: JobEvent) -> Iterable[Frame]:
        """Yield what the stream says of ``event``."""

    def failed(self, error: RbeeError) -> Frame:
        """Return the last frame of a stream in which something went wrong."""


async def respond(
    request: Request, told: AsyncIterator[JobEvent], answer: Answer, *, stream: bool, after: int = -1
) -> HTTPResponse | None:
    """Answer with what is ``told``, a generator of events; what fails is raised in it.

    Args:
        after: the number of the last event of the stream that its reader has already.
    """
    if not stream:
        async with closing(told) as happened:
            return reply(answer.read([event async for event in happened]))
    await sse.stream(request, sse.failing_inside(_frames(told, answer, after), answer.failed))
    return None


async def _frames(told: AsyncIterator[JobEvent], answer: Answer, after: int) -> AsyncIterator[Frame]:
    """Yield the events of the stream that come after number ``after``; a failure is one of those, and has a number.

    Where nothing of the answer was told there is no stream yet, and the failure is raised.
    """
    number = -1
    try:
        async with closing(told) as happened:
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
