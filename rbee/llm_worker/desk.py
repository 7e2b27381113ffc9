"""What waits for the model, and the way of events from its thread to the event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from rbee.llm_worker.engine import Outlet, Prompt
from rbee.wire.events import End, JobEvent, StopReason, last


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """A job of the engine. ``cancelled`` and ``held`` are set in the event loop, and looked at between two steps."""

    job: str
    prompt: Prompt
    outlet: Outlet
    asked_s: float
    cancelled: bool = False
    held: bool = False
    news: list[JobEvent] = field(default_factory=list)
    """Events that are not told yet."""


class Desk:
    """Takes work in the event loop, gives it to the thread that computes, and tells what became of it.

    Args:
        interrupt: called when all that runs was cancelled, so that nobody waits for the end of a long step.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self.running: set[Work] = set()
        self._interrupt = interrupt
        self._waiting: deque[Work] = deque()
        self._known: dict[str, Work] = {}
        self._errands: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    # In the event loop

    def submit(self, work: Work) -> None:
        self._loop = asyncio.get_running_loop()
        with self._changed:
            self._known[work.job] = work
            self._waiting.append(work)
            self._changed.notify()

    def hold(self, job: str, on: bool) -> None:
        work = self._known.get(job)
        if work is not None:
            with self._changed:
                work.held = on
                self._changed.notify()

    def cancel(self, job: str) -> bool:
        """End ``job``; return whether it is here."""
        work = self._known.get(job)
        if work is None:
            return False
        with self._changed:
            work.cancelled = True
            waited = work in self._waiting
            if waited:
                self._waiting.remove(work)
            elif self.running and all(each.cancelled for each in self.running):
                self._interrupt()
            self._changed.notify()
        if waited:
            self._deliver([(work, [never_started(work.prompt)])])
        return True

    def close(self) -> None:
        """Let the thread go home, and end all that is here."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for job in list(self._known):
            self.cancel(job)
        self._interrupt()

    def between_steps(self, errand: Callable[[], None]) -> None:
        """Let the thread do ``errand`` between two steps; blocks until it is done. Raises what it raises."""
        done: Future[None] = Future()
        with self._changed:
            if self._closing:
                return
            self._errands.append((errand, done))
            self._changed.notify()
        done.result()

    # In the thread

    @property
    def closing(self) -> bool:
        return self._closing

    def next(self, *, room: bool, able: Callable[[], bool]) -> Work | None:
        """Return the oldest that waits if there is ``room`` for it; None when there is other work to do, or the end.

        Waits as long as neither is so. ``able`` says whether any that runs can go on.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._errands or (room and self._waiting) or able())
            self._run_errands()
            if self._closing or not room or not self._waiting:
                return None
            work = self._waiting.popleft()
            self.running.add(work)
            return work

    def _run_errands(self) -> None:
        while self._errands:
            errand, done = self._errands.popleft()
            try:
                errand()
            except Exception as error:  # noqa: BLE001  (whoever sent it wants to know)
                done.set_exception(error)
            else:
                done.set_result(None)

    def tell(self) -> None:
        """Hand over all news at once."""
        told = [(work, work.news) for work in self.running if work.news]
        if not told:
            return
        for work, news in told:
            work.news = []
            if last(news[-1]):
                self.running.discard(work)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, told)

    def _deliver(self, told: list[tuple[Work, list[JobEvent]]]) -> None:
        for work, news in told:
            if last(news[-1]) and self._known.get(work.job) is work:
                del self._known[work.job]
            work.outlet(news)


def never_started(prompt: Prompt) -> End:
    return End(tokens_in=prompt.tokens_in, tokens_out=0, stop_reason=StopReason.CANCELLED, decode_ms=0.0, ttft_ms=0.0)
