"""Several streams as one: read at once, and ended together."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rbee import log
from rbee.daemon.closing import closing
from rbee.errors import RbeeError

T = TypeVar("T")

_AHEAD = 64
"""How many items of a stream may wait for their reader; then it is as slow as that."""


@dataclass(frozen=True, slots=True)
class _End:
    """A stream is over. ``error`` says why, if it should not be."""

    error: RbeeError | None = None


async def together(streams: Sequence[AsyncIterator[T]]) -> AsyncGenerator[tuple[int, T], None]:
    """Yield the items of all ``streams``, which are generators, each with its stream's place; closing it closes them.

    Nothing is yielded before each has said something, so what cannot begin is refused as a whole; none may wait for
    another one before it does. When one fails the others are closed.

    Raises:
        RbeeError: the first failure.
    """
    if len(streams) == 1:
        async with closing(streams[0]) as alone:
            async for item in alone:
                yield 0, item
        return
    several: _Several[T] = _Several()
    for place, stream in enumerate(streams):
        several.add(place, stream)
    try:
        async for found in several.read():
            yield found
    finally:
        await several.close()


@dataclass(slots=True)
class _Several(Generic[T]):
    """Streams that are read by a task each, into one line."""

    _line: "asyncio.Queue[tuple[int, T | _End]]" = field(default_factory=asyncio.Queue)
    _rooms: list[asyncio.Semaphore] = field(default_factory=list)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def add(self, place: int, stream: AsyncIterator[T]) -> None:
        self._rooms.append(asyncio.Semaphore(_AHEAD))
        self._tasks.append(asyncio.create_task(self._pump(place, stream), name=f"together-{place}"))

    async def read(self) -> AsyncIterator[tuple[int, T]]:
        early: list[tuple[int, T]] = []
        begun, ended = set[int](), 0
        while ended < len(self._tasks):
            place, item = await self._line.get()
            begun.add(place)
            if not isinstance(item, _End):
                early.append((place, item))
            elif item.error is not None:
                raise item.error
            else:
                ended += 1
            if len(begun) == len(self._tasks):
                for found in early:
                    self._rooms[found[0]].release()
                    yield found
                early.clear()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, place: int, stream: AsyncIterator[T]) -> None:
        try:
            async with closing(stream) as told:
                async for item in told:
                    await self._rooms[place].acquire()
                    self._line.put_nowait((place, item))
            self._line.put_nowait((place, _End()))
        except Exception as error:  # noqa: BLE001  (whatever it was, the reader has to hear of it)
            known = error if isinstance(error, RbeeError) else RbeeError("an answer failed inside")
            if known is not error:
                log.foreign("together.failed", error)
            self._line.put_nowait((place, _End(known)))
