"""All generations of this worker: those that live, and for a while those that ended."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rbee import log
from rbee.errors import Conflict, NoCapacity, NotFound, RbeeError, ShuttingDown
from rbee.llm_worker.engine import Engine
from rbee.llm_worker.loading import Loading
from rbee.llm_worker.metrics import WorkerMetrics
from rbee.llm_worker.session import Session
from rbee.wire.events import End, Failure, JobEvent, StopReason, last
from rbee.wire.inference import InferenceRequest

WAITING = 32
"""Requests that may wait beyond the slots; the queue for the many is the queen's."""

KEPT_S = 300.0
KEPT = 64
KEPT_BYTES = 32 << 20
"""How many ended generations are kept for who comes back, for how long, and how much memory of theirs together."""

_TRIALS = 2
"""Requests with a schema or tools that are made ready at once: it may take seconds, and the others are not to wait."""

_NEVER_BEGAN = End(tokens_in=0, tokens_out=0, stop_reason=StopReason.CANCELLED, decode_ms=0.0, ttft_ms=0.0)
_FAILED = Failure.of(RbeeError("the worker failed inside"))


@dataclass(slots=True, kw_only=True, eq=False)
class Sessions:
    """Opens, finds and ends sessions.

    Args:
        used: called whenever the model was wanted; the idle clock starts again.
    """

    engine: Engine
    loading: Loading
    metrics: WorkerMetrics
    used: Callable[[], None]
    draining: bool = False
    _all: dict[str, Session] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _quiet: asyncio.Event = field(default_factory=asyncio.Event)
    _shaping: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_TRIALS, "shape"))

    @property
    def live(self) -> int:
        return len(self._tasks)

    def open(self, request: InferenceRequest, *, returns: bool = True) -> Session:
        """Return a new session; it begins at once, whether or not somebody reads it.

        Args:
            returns: somebody may come back to it after its end; otherwise it is forgotten then.

        Raises:
            ShuttingDown: the worker drains. Conflict: the id is taken. NoCapacity: too many wait already.
        """
        job = request.id or f"inf-{uuid.uuid4().hex[:12]}"
        self.used()
        self._admit(job)
        self._forget_old()
        session = Session(
            job=job, detach_s=request.detach_s, abandon=self._abandon, hold=self.engine.hold, returns=returns
        )
        self._all[job] = session
        self._quiet.clear()
        task = asyncio.get_running_loop().create_task(self._run(session, request), name=f"session-{job}")
        self._tasks[job] = task
        # Not at the end of ``_run``: a task that is cancelled before its first step does not come there.
        task.add_done_callback(lambda _: self._ended(session, task))
        return session

    def find(self, job: str) -> Session:
        """Raises NotFound."""
        self.used()
        self._forget_old()
        session = self._all.get(job)
        if session is None:
            raise NotFound(f"no generation {job} here", hint="it never was, or it ended a while ago")
        return session

    def cancel(self, job: str) -> None:
        """End ``job``; one that has ended is left as it is. Raises NotFound."""
        session = self.find(job)
        if not session.finished:
            self._abandon(job)

    def forget(self, session: Session) -> None:
        """Drop a session that has nothing to come back for: its id can be used again, its memory is free."""
        if self._all.get(session.job) is session:
            del self._all[session.job]

    async def quiet(self) -> None:
        """Return when nothing runs."""
        while self._tasks:
            await self._quiet.wait()

    async def end_all(self, grace_s: float) -> None:
        """Let what runs finish for ``grace_s``, then cancel it."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.quiet()
                return
        for job in list(self._tasks):
            self._abandon(job)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.quiet()

    def _admit(self, job: str) -> None:
        if self.draining:
            raise ShuttingDown("this worker is draining", hint="send it to another worker")
        known = self._all.get(job)
        if known is not None and not known.finished:
            raise Conflict(f"generation {job} runs already", hint=f"GET /v1/inference/{job}/events")
        if self.live >= self.engine.slots + WAITING:
            raise NoCapacity(
                f"{self.engine.slots} slots are busy and {WAITING} requests wait",
                hint="try again shortly",
                details={"slots": self.engine.slots, "waiting": WAITING, "retry_after_s": 1},
            )

    async def _run(self, session: Session, request: InferenceRequest) -> None:
        try:
            await self.loading.wait()
            loop = asyncio.get_running_loop()
            prompt = await loop.run_in_executor(self._preparing(request), self.engine.prepare, request)
            self.metrics.tokens_in.inc(prompt.tokens_in)
            ended: asyncio.Future[None] = loop.create_future()

            def tell(events: Sequence[JobEvent]) -> None:
                session.extend(events)
                if last(events[-1]) and not ended.done():
                    ended.set_result(None)

            self.engine.submit(session.job, prompt, tell)
            await ended
        except RbeeError as error:
            session.extend([Failure.of(error)])

    def _preparing(self, request: InferenceRequest) -> ThreadPoolExecutor | None:
        """Return the threads that make ``request`` ready; None for those of all. To try a schema may take seconds."""
        return self._shaping if request.schema is not None or request.tools else None

    def _ended(self, session: Session, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a panic of a library is no Exception; asking for it keeps asyncio from printing it
            log.foreign("session.failed", error, job=session.job)
        if not session.finished:
            session.extend([_NEVER_BEGAN if error is None else _FAILED])
        if self._tasks.get(session.job) is task:
            del self._tasks[session.job]
        if not self._tasks:
            self._quiet.set()
        self.used()
        self.metrics.ended(session.events[-1])
        _log_end(session)
        if not session.returns:
            self.forget(session)
        self._forget_old()

    def _abandon(self, job: str) -> None:
        """Nobody wants ``job`` any more."""
        session, task = self._all.get(job), self._tasks.get(job)
        if session is None or task is None:
            return
        session.release()
        if not self.engine.cancel(job):
            task.cancel()

    def _forget_old(self) -> None:
        now_s = asyncio.get_running_loop().time()
        ended = [session for session in self._all.values() if session.ended_s is not None]
        size, kept = 0, 0
        for session in sorted(ended, key=lambda each: each.ended_s or 0.0, reverse=True):
            size, kept = size + session.weight, kept + 1
            if kept > KEPT or size > KEPT_BYTES or now_s - (session.ended_s or 0.0) > KEPT_S:
                del self._all[session.job]


def _log_end(session: Session) -> None:
    match session.events[-1]:
        case End() as end:
            log.event(
                "inference.ended", job=session.job, stop_reason=end.stop_reason.value, tokens_in=end.tokens_in,
                tokens_out=end.tokens_out, ttft_ms=end.ttft_ms, decode_ms=end.decode_ms,
            )  # fmt: skip
        case Failure() as failure:
            log.event("inference.failed", level=log.WARNING, job=session.job, code=failure.code)
        case _:
            log.error("inference.broken", job=session.job)
