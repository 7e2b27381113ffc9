"""Work that tells of itself, as a stream of events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from rbee.wire.catalog import DownloadEvent, ModelFile


async def events_of(
    work: Callable[[Callable[[DownloadEvent], None]], Awaitable[ModelFile]],
) -> AsyncIterator[DownloadEvent]:
    """Yield what ``work`` tells, then ``done`` with the model it returns; its failure is raised here.

    The work has a task of its own: a slow reader sees fewer events and holds nothing up. Closing the iterator
    cancels it and waits until it is gone.
    """
    told: asyncio.Queue[DownloadEvent | None] = asyncio.Queue()

    def tell(event: DownloadEvent) -> None:
        while not told.empty():
            told.get_nowait()
        told.put_nowait(event)

    working = asyncio.ensure_future(work(tell))
    working.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while event := await told.get():
            yield event
        model = await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    yield DownloadEvent(state="done", bytes_done=model.size_bytes, bytes_total=model.size_bytes, model=model)
