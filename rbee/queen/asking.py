"""What is asked in a dialect that is not ours: each answer is a job like any other, attached to its caller.

A dialect turns a request into specs, and gets events of answers that go well: what fails is raised, and a caller who
goes away ends all that was asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from sanic import Request

from rbee import log
from rbee.errors import Conflict, RbeeError, ShuttingDown
from rbee.queen import streams
from rbee.queen.closing import closing
from rbee.queen.newcomer import Asker, new_id
from rbee.queen.queen import Queen
from rbee.wire import events
from rbee.wire.events import End, Failure, JobEvent, StopReason
from rbee.wire.jobs import JobSpec

_AHEAD = 64
"""How many events of several answers may wait for their reader; then their jobs are as slow as it is."""


async def ask(request: Request, spec: JobSpec, *, job: str = "") -> AsyncIterator[JobEvent]:
    """Submit ``spec`` and yield what happens to it, up to an ``End`` that is no cancellation. Closing it cancels.

    Args:
        job: what to call it, made by ``new_id``; so the caller can be told before it is submitted.

    Raises:
        RbeeError: it was not accepted, or failed; Conflict when somebody cancelled it; ShuttingDown when the queen
            stopped before its end.
    """
    queen: Queen = request.app.ctx.queen
    asker = Asker(caller=request.ctx.caller, request_id=request.ctx.request_id)
    entries = await streams.attached(queen, spec, asker, fresh_id=job or new_id())
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
    if len(specs) == 1:
        async with closing(ask(request, specs[0], job=job)) as alone:
            async for event in alone:
                yield 0, event
        return
    several = _Several()
    for place, spec in enumerate(specs):
        several.add(place, ask(request, spec, job=f"{job}-{place}" if place else job))
    try:
        async for found in several.read():
            yield found
    finally:
        await several.close()


@dataclass(slots=True)
class _Several:
    """Answers that are read at once, each by a task, in one line. None is the end of one."""

    _line: "asyncio.Queue[tuple[int, JobEvent | RbeeError | None]]" = field(
        default_factory=lambda: asyncio.Queue(_AHEAD)
    )
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def add(self, place: int, told: AsyncIterator[JobEvent]) -> None:
        self._tasks.append(asyncio.create_task(self._pump(place, told), name=f"choice-{place}"))

    async def read(self) -> AsyncIterator[tuple[int, JobEvent]]:
        early: list[tuple[int, JobEvent]] = []
        accepted, ended = set[int](), 0
        while ended < len(self._tasks):
            place, event = await self._line.get()
            accepted.add(place)
            if isinstance(event, RbeeError):
                raise event
            if event is None:
                ended += 1
            else:
                early.append((place, event))
            if len(accepted) == len(self._tasks):
                for found in early:
                    yield found
                early.clear()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, place: int, told: AsyncIterator[JobEvent]) -> None:
        try:
            async with closing(told) as stream:
                async for event in stream:
                    await self._line.put((place, event))
            await self._line.put((place, None))
        except Exception as error:  # noqa: BLE001  (whatever it was, the reader has to hear of it)
            known = error if isinstance(error, RbeeError) else RbeeError("an answer failed inside")
            if known is not error:
                log.error("ask.failed", error=repr(error))
            await self._line.put((place, known))
