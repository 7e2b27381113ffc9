"""What is asked in a dialect that is not ours: each answer is a job like any other, attached to its caller.

A dialect turns a request into specs, and gets events of answers that go well: what fails is raised, and a caller who
goes away ends all that was asked for.
"""

from collections.abc import AsyncIterator, Sequence

from sanic import Request

from rbee.daemon.closing import closing
from rbee.daemon.together import together
from rbee.errors import Conflict, InvalidRequest, ShuttingDown
from rbee.queen import streams
from rbee.queen.newcomer import Asker, new_id
from rbee.queen.queen import Queen
from rbee.queen.store.events import Entry
from rbee.wire import codec, events
from rbee.wire.events import End, Failure, JobEvent, StopReason
from rbee.wire.jobs import JobSpec


async def ask(request: Request, spec: JobSpec, *, job: str = "") -> AsyncIterator[JobEvent]:
    """Submit ``spec`` and yield what happens to it, up to an ``End`` that is no cancellation. Closing it cancels.

    Args:
        job: what to call it, made by ``new_id``; so the caller can be told before it is submitted.

    Raises:
        RbeeError: it was not accepted, or failed; Conflict when somebody cancelled it; ShuttingDown when the queen
            stopped before its end.
    """
    refuse_unreadable(spec)
    queen: Queen = request.app.ctx.queen
    asker = Asker(caller=request.ctx.caller, request_id=request.ctx.request_id)
    entries = await streams.attached(queen, spec, asker, fresh_id=job or new_id())
    async with closing(going_well(entries, job)) as told:
        async for event in told:
            yield event


async def going_well(entries: AsyncIterator[Entry], job: str) -> AsyncIterator[JobEvent]:
    """Yield what ``entries`` say, up to an ``End`` that is no cancellation. Raises as ``ask``, what ends a job."""
    event: JobEvent | None = None
    async with closing(entries) as stream:
        async for entry in stream:
            event = entry.read()
            if isinstance(event, Failure):
                raise event.to_error()
            if isinstance(event, End) and event.stop_reason is StopReason.CANCELLED:
                raise Conflict(f"{job or 'the job'} was cancelled before its answer was complete")
            if event is not None:
                yield event
    if event is None or not events.last(event):
        raise ShuttingDown("the queen stopped before the answer was complete", hint="send it again")


async def ask_all(request: Request, specs: Sequence[JobSpec], *, job: str = "") -> AsyncIterator[tuple[int, JobEvent]]:
    """Submit all ``specs`` and yield the events of each, with its place among them. Closing it cancels what runs.

    Nothing is yielded before all were accepted, and when one fails the others are cancelled.

    Args:
        job: what to call the first; the others are called after it.

    Raises: as ``ask``.
    """
    job = job or new_id()
    asked = [ask(request, spec, job=f"{job}-{place}" if place else job) for place, spec in enumerate(specs)]
    async with closing(together(asked)) as told:
        async for found in told:
            yield found


def refuse_unreadable(spec: JobSpec) -> None:
    """Raise InvalidRequest for a spec that breaks a rule of its fields: the next queen reads it from disk by them."""
    plain = codec.plain(spec)
    if not codec.is_text(plain):
        raise InvalidRequest(f"the request {codec.HALF}")
    codec.from_dict(JobSpec, plain)
