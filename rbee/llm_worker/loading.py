"""The model on its way into memory, for those who wait and those who watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from rbee.errors import RbeeError
from rbee.wire.inference import LoadingEvent

LOADING, READY, FAILED = "loading", "ready", "failed"


@dataclass(slots=True)
class Loading:
    """Where loading stands. Made and read in the event loop; the load itself runs in a thread."""

    model: str
    state: str = LOADING
    progress: float = 0.0
    seconds: float = 0.0
    error: RbeeError | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, load: Callable[[Callable[[float], None]], None]) -> None:
        """Call ``load`` in a thread and follow it; its failure is kept for ``wait`` to raise."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        def report(progress: float) -> None:
            loop.call_soon_threadsafe(self._advance, progress)

        try:
            await asyncio.to_thread(load, report)
        except Exception as error:  # noqa: BLE001  (whatever it was, those who wait must hear of it)
            self.fail(error if isinstance(error, RbeeError) else RbeeError(f"loading {self.model} failed: {error!r}"))
        self.seconds = loop.time() - began_s
        if self.error is None:
            self.state, self.progress = READY, 1.0
            self._finished.set()
            self._tell()

    def fail(self, error: RbeeError) -> None:
        """There is no model, or none any more: all who want it hear why."""
        self.state, self.error = FAILED, error
        self._finished.set()
        self._tell()

    async def wait(self) -> None:
        """Return when the model is loaded.

        Raises:
            RbeeError: why it never will be.
        """
        await self._finished.wait()
        if self.error is not None:
            raise self.error

    async def finished(self) -> None:
        """Return when it is loaded, or failed."""
        await self._finished.wait()

    async def events(self) -> AsyncIterator[LoadingEvent]:
        """Yield the state now, then each change of at least one percent, up to ``ready`` or ``failed``."""
        shown = -1
        while True:
            changed, event = self._changed, self.event()
            percent = int(event.progress * 100)
            if percent != shown or event.state != LOADING:
                shown = percent
                yield event
            if event.state != LOADING:
                return
            await changed.wait()

    def event(self) -> LoadingEvent:
        message = self.error.message if self.error is not None else ""
        return LoadingEvent(state=self.state, progress=round(self.progress, 3), message=message)

    def _advance(self, progress: float) -> None:
        """llama.cpp reports 1.0 before the contexts are made; ready is said by ``run`` alone."""
        self.progress = max(self.progress, min(progress, 0.99))
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
