"""Waiting for the disk, together."""

import asyncio
from collections.abc import Callable


class Syncs:
    """Whoever comes while a sync runs shares the next one: the one that runs may have begun before his commit.

    Args:
        sync: takes its time, and runs on a thread of its own.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def done(self) -> None:
        """Return when a sync that began after this call is over; raises what it raised."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="sync")
        await asyncio.shield(self._next)

    async def _after(self, running: "asyncio.Task[None] | None") -> None:
        if running is not None:
            await asyncio.wait({running})
        self._running, self._next = self._next, None
        await asyncio.to_thread(self._sync)
