"""What the queen knows, as streams of frames."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rbee.daemon.closing import closing
from rbee.daemon.sse import failing_inside
from rbee.errors import RbeeError, ShuttingDown
from rbee.queen.job import Job
from rbee.queen.newcomer import Asker
from rbee.queen.queen import Queen
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Stored
from rbee.wire import codec
from rbee.wire.envelope import to_envelope
from rbee.wire.events import Failure
from rbee.wire.jobs import JobSpec
from rbee.wire.sse import Frame
from rbee.wire.workers import SpawnEvent


async def attached(
    queen: Queen, spec: JobSpec, asker: Asker, after: int = 0, fresh_id: str = ""
) -> AsyncIterator[Entry]:
    """Submit ``spec`` and return its events; closing them cancels the job, unless the queen herself is stopping.

    They are to be read before anything else is awaited.

    Raises:
        ShuttingDown: she is; nothing was stored.
    """
    if queen.stopping:
        raise ShuttingDown("the queen is stopping", hint="try again in a moment", details={"retry_after_s": 1})
    entering = queen.submit(spec, asker, fresh_id)
    try:
        stored, job = await asyncio.shield(entering)
    except asyncio.CancelledError:
        queen.dispatcher.aside(_withdrawn(queen, entering), "withdraw")
        raise
    return queen.entries(stored, after, attached=job)


async def _withdrawn(queen: Queen, entering: "asyncio.Task[tuple[Stored, Job | None]]") -> None:
    """Cancel a job whose submitter went away while it was being accepted."""
    with contextlib.suppress(RbeeError):
        _, job = await entering
        if job is not None and not queen.stopping:
            await queen.cancel(job)


async def frames(entries: AsyncIterator[Entry], after: int = 0) -> AsyncIterator[Frame]:
    """Yield events that follow ``after``; what goes wrong in telling them is an ``error`` with the id before it.

    What passes cuts the line instead: whoever reads asks again.
    """
    told = str(after)

    def failed(error: RbeeError) -> Frame:
        if error.retriable:
            raise error
        return Frame(event="error", data=codec.dump_json(Failure.of(error)), id=told)

    async with closing(failing_inside(_frames(entries), failed)) as stream:
        async for frame in stream:
            told = frame.id or told
            yield frame


async def _frames(entries: AsyncIterator[Entry]) -> AsyncIterator[Frame]:
    async with closing(entries) as stream:
        async for entry in stream:
            yield entry.frame()


async def spawn_frames(events: AsyncIterator[SpawnEvent]) -> AsyncIterator[Frame]:
    """Yield ``progress`` …, then ``ready`` or ``error``."""
    async with closing(failing_inside(_spawn_frames(events), _error_frame)) as stream:
        async for frame in stream:
            yield frame


async def _spawn_frames(events: AsyncIterator[SpawnEvent]) -> AsyncIterator[Frame]:
    async with closing(events) as stream:
        async for event in stream:
            yield Frame(event="ready" if event.worker is not None else "progress", data=codec.dump_json(event))


def _error_frame(error: RbeeError) -> Frame:
    return Frame(event="error", data=codec.dump_json(to_envelope(error, source="queen")))
