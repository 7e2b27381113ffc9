"""The events of one unfinished job, on their way to whoever reads. Only what is on disk gets in."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from rbee.errors import NotFound
from rbee.queen.store.events import Entry

WINDOW = 2048
"""Events kept in memory for readers that are near; others read the disk."""

DISTANCE = 512
"""How far an attached reader may lag before the worker has to wait for it."""

Page = Callable[[int], Awaitable[Sequence[Entry]]]


class Feed:
    """Readers each have their own pace. The attached ones, who submitted the job, set that of the worker.

    Args:
        last_id: of the newest event on disk.
        page: reads from disk what follows an id.
    """

    def __init__(self, last_id: int, page: Page) -> None:
        self.last_id = last_id
        self.finished = False
        self.closed = False
        self._page = page
        self._recent: deque[Entry] = deque(maxlen=WINDOW)
        self._places: dict[object, int] = {}
        self._attached: set[object] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._moved = asyncio.Event()
        self.on_readers: Callable[[int], None] = lambda _: None
        """Told how many there are, whenever one comes or goes."""
        self.on_deserted: Callable[[], None] = _nothing
        """Told when the last attached one goes."""

    @property
    def readers(self) -> int:
        return len(self._places)

    @property
    def attached(self) -> int:
        return len(self._attached)

    def publish(self, entries: Sequence[Entry], *, finished: bool = False) -> None:
        """Give out events that have been committed."""
        self._recent.extend(entries)
        if entries:
            self.last_id = entries[-1].id
        self.finished = self.finished or finished
        self._tell()

    def close(self) -> None:
        """End every reader where it is: the queen stops, the job does not."""
        self.closed = True
        self._tell()
        self._moved.set()

    async def room(self) -> None:
        """Return when every attached reader is near enough."""
        while not self.closed and any(self.last_id - self._places[who] > DISTANCE for who in self._attached):
            self._moved.clear()
            await self._moved.wait()

    async def read(self, after: int, *, attached: bool = False) -> AsyncIterator[Entry]:
        """Yield the events that follow ``after``, up to the last there will be.

        Raises:
            NotFound: some of them were erased meanwhile.
        """
        me = object()
        self._places[me] = after
        if attached:
            self._attached.add(me)
        self.on_readers(self.readers)
        try:
            while not self.closed:
                for entry in await self._next(after):
                    yield entry
                    after = entry.id
                    self._place(me, after)
                if after >= self.last_id:
                    if self.finished or self.closed:
                        return
                    await self._news()
        finally:
            del self._places[me]
            self._attached.discard(me)
            self._waiters = [each for each in self._waiters if not each.done()]
            self._moved.set()
            self.on_readers(self.readers)
            if attached and not self._attached:
                deserted, self.on_deserted = self.on_deserted, _nothing  # it knows the job, which knows us
                deserted()

    async def _next(self, after: int) -> Sequence[Entry]:
        if after >= self.last_id:
            return ()
        if self._recent and self._recent[0].id <= after + 1:
            return [self._recent[-back] for back in range(self.last_id - after, 0, -1)]  # its ids have no gap
        page = await self._page(after)
        if not page or page[-1].id - after != len(page):
            raise NotFound("what was said was erased while it was read", hint="ask again")
        return page

    def _place(self, me: object, after: int) -> None:
        self._places[me] = after
        self._moved.set()

    def _news(self) -> "asyncio.Future[None]":
        """Return what is done when something was published, or it was closed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _nothing() -> None:
    """Nobody wants to know."""
