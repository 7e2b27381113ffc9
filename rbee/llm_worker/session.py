"""One generation and its readers: numbered events, kept, so that a reader who lost the line can go on exactly."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from rbee.llm_worker.weight import weight
from rbee.wire.events import JobEvent, last

HIGH_WATER_EVENTS = 256
"""How far the slowest reader may lag before the model has to wait for it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """Events 1, 2, 3, … of ``job``. Lives in the event loop.

    Args:
        detach_s: how long it goes on without a reader.
        abandon: called once when it has had no reader for ``detach_s``.
        hold: called with True when the slowest reader lags too far behind, with False when it is near enough again.
        returns: somebody may come back to it after its end.
    """

    job: str
    detach_s: float
    abandon: Callable[[str], None]
    hold: Callable[[str, bool], None]
    returns: bool = True
    events: list[JobEvent] = field(default_factory=list)
    weight: int = 0
    ended_s: float | None = None
    _readers: dict[int, int] = field(default_factory=dict)
    _next_reader: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _held: bool = False
    _deadline: asyncio.TimerHandle | None = None

    @property
    def finished(self) -> bool:
        return self.ended_s is not None

    @property
    def failed_early(self) -> bool:
        """It ended before anything was generated: there is nothing to come back for."""
        return self.finished and len(self.events) == 1

    def extend(self, events: Sequence[JobEvent]) -> None:
        """Add what is new."""
        self.events.extend(events)
        self.weight += sum(map(weight, events))
        if last(self.events[-1]):
            self.ended_s = asyncio.get_running_loop().time()
            self._disarm()
        self._pace()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def read(self, after: int = 0) -> AsyncIterator[tuple[int, JobEvent]]:
        """Yield the events after number ``after``, each with its number, up to the last."""
        reader = self._enter(after)
        try:
            number = min(after, len(self.events))
            while True:
                changed = self._changed
                while number < len(self.events):
                    event = self.events[number]
                    number += 1
                    self._readers[reader] = number
                    if self._held:
                        self._pace()
                    yield number, event
                if self.finished:
                    return
                await changed.wait()
        finally:
            self._leave(reader)

    def release(self) -> None:
        """It was cancelled, and nobody's pace matters any more."""
        self._readers.clear()
        self._pace()

    def unattended(self) -> None:
        """Start to count ``detach_s`` when nobody reads; also for a reader who left before reading anything."""
        if not self._readers and not self.finished and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self.detach_s, self.abandon, self.job)

    def _enter(self, after: int) -> int:
        self._disarm()
        self._next_reader += 1
        self._readers[self._next_reader] = after
        return self._next_reader

    def _leave(self, reader: int) -> None:
        self._readers.pop(reader, None)
        self._pace()
        self.unattended()

    def _pace(self) -> None:
        """Hold the model while the slowest reader lags; nobody's pace matters where nobody reads, or all is said."""
        slowest = min(self._readers.values(), default=len(self.events))
        lags = not self.finished and len(self.events) - slowest >= HIGH_WATER_EVENTS
        if lags is not self._held:
            self._held = lags
            self.hold(self.job, lags)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
