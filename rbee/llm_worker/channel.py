"""From one thread to one coroutine, with back-pressure: when the coroutine lags, the thread waits."""

import asyncio
import contextlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Channel(Generic[T]):
    """Holds at most ``capacity`` items that were put and not yet taken."""

    capacity: int
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _items: deque[T] = field(default_factory=deque)
    _room: threading.Condition = field(default_factory=threading.Condition)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _open: bool = False

    def put(self, item: T) -> None:
        """Add ``item``; from the thread. Waits while the channel is full."""
        with self._room:
            self._room.wait_for(lambda: len(self._items) < self.capacity or self._open)
            self._items.append(item)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody will take it
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> T:
        """Return the oldest item; from the loop."""
        while True:
            with self._room:
                if self._items:
                    item = self._items.popleft()
                    self._room.notify()
                    return item
                self._arrived.clear()
            await self._arrived.wait()

    def release(self) -> None:
        """Never make the thread wait again: what it works on was cancelled."""
        with self._room:
            self._open = True
            self._room.notify_all()
