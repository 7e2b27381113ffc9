"""What waits for the model, and the way of events from its thread to the event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from rbee import log
from rbee.errors import RbeeError, ShuttingDown
from rbee.llm_worker.engine import Outlet, Prompt
from rbee.llm_worker.ports import StepFailed
from rbee.wire.events import End, Failure, JobEvent, StopReason, last


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
        resume: takes that back, before anything new runs that nobody wants to be broken off.
    """

    def __init__(self, interrupt: Callable[[], None], resume: Callable[[], None]) -> None:
        self.running: set[Work] = set()
        self._interrupt, self._resume = interrupt, resume
        self._waiting: deque[Work] = deque()
        self._known: dict[str, Work] = {}
        self._errands: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: RbeeError | None = None

    # In the event loop

    def submit(self, work: Work) -> None:
        """Queue ``work``. Raises what is the matter where nothing is computed any more."""
        self._loop = asyncio.get_running_loop()
        with self._changed:
            if self._over is not None:
                raise self._over
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

    # In any thread

    def close(self) -> None:
        """Let the thread go home, and end all that is here."""
        with self._changed:
            told: list[tuple[Work, list[JobEvent]]] = [(work, [never_started(work.prompt)]) for work in self._waiting]
            self._waiting.clear()
            for work in self.running:
                work.cancelled = True
            # Last: the thread looks at it without the lock, and then ends what is cancelled and nothing else.
            self._over = self._over or on_its_way_out()
            self._interrupt()
            self._changed.notify_all()
        self._send(told)

    def between_steps(self, errand: Callable[[], None]) -> None:
        """Let the thread do ``errand`` between two steps; blocks until it is done. Raises what it raises.

        Where the thread goes home it is not done.
        """
        done: Future[None] = Future()
        with self._changed:
            if self._over is not None:
                return
            self._errands.append((errand, done))
            self._changed.notify()
        done.result()

    # In the thread

    @property
    def closing(self) -> bool:
        return self._over is not None

    def next(self, *, room: bool, able: Callable[[], bool]) -> Work | None:
        """Return the oldest that waits if there is ``room`` for it; None when there is other work to do, or the end.

        Waits as long as neither is so. ``able`` says whether any that runs can go on.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.closing or self._errands or (room and self._waiting) or able())
            if self.closing:
                return None
            if not self._errands:
                return self._taken() if room and self._waiting else None
            errand, done = self._errands.popleft()
        try:  # the lock is open: the event loop must not stand still for as long as this takes
            errand()
        except BaseException as error:
            done.set_exception(error)  # whoever sent it wants to know
            if not isinstance(error, Exception):
                raise
        else:
            done.set_result(None)
        return None

    def _taken(self) -> Work:
        work = self._waiting.popleft()
        self.running.add(work)
        self._resume()  # it was set for those who are cancelled; those that run now are not all of them
        return work

    def leave(self, error: RbeeError | None = None) -> None:
        """The thread goes home: nobody waits for it any more. With ``error`` it broke, and all that is here fails."""
        with self._changed:
            self._over = self._over or error
            errands, self._errands = self._errands, deque()
            left = [*self.running, *self._waiting]
            self.running.clear()
            self._waiting.clear()
        for _, done in errands:
            done.set_result(None)
        if error is not None:
            failure = Failure.of(error)
            self._send([(w, w.news if w.news and last(w.news[-1]) else [*w.news, failure]) for w in left])

    def tell(self) -> None:
        """Hand over all news at once."""
        told = [(work, work.news) for work in self.running if work.news]
        if not told:
            return
        for work, _ in told:
            work.news = []
        with self._changed:  # the loop looks at who runs
            self.running.difference_update(work for work, news in told if last(news[-1]))
        self._send(told)

    def _send(self, told: list[tuple[Work, list[JobEvent]]]) -> None:
        if told and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, told)

    def _deliver(self, told: list[tuple[Work, list[JobEvent]]]) -> None:
        for work, news in told:
            if last(news[-1]) and self._known.get(work.job) is work:
                del self._known[work.job]
            work.outlet(news)


def fail(work: Work, error: Exception, event: str) -> None:
    """End ``work``, in the thread: it hears what is known of the error; the log, as ``event``, nothing of its text."""
    known = error if isinstance(error, RbeeError) else RbeeError("the decode thread failed")
    reason = str(error) if isinstance(error, StepFailed) else None  # llama.cpp's word on numbers, not on text
    log.foreign(event, error, job=work.job, reason=reason)
    work.news.append(Failure.of(known))


def on_its_way_out() -> ShuttingDown:
    return ShuttingDown("this worker is on its way out", hint="send it to another worker")


def never_started(prompt: Prompt) -> End:
    return End(tokens_in=prompt.tokens_in, tokens_out=0, stop_reason=StopReason.CANCELLED, decode_ms=0.0, ttft_ms=0.0)
