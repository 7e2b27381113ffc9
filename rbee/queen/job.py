"""An unfinished job as the queen holds it: the same as on disk, and who reads it."""

import asyncio
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias

from rbee import log
from rbee.errors import NoCapacity, RbeeError
from rbee.orchestrator_core.moment import Plain, job_row
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.prompts import prompt_bytes
from rbee.orchestrator_core.queue import Waiting
from rbee.orchestrator_core.rates import Size, size_of
from rbee.orchestrator_core.warmth import Session, blocks_of, session_of
from rbee.queen.clock import Clock
from rbee.queen.feed import Feed, Page
from rbee.queen.store import events, jobs
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Move, Unfinished
from rbee.queen.store.store import Store
from rbee.wire import codec
from rbee.wire.events import Call, End, Failure, JobEvent, Score, StopReason, Token, Vector, dump, name_of
from rbee.wire.jobs import JobSpec, JobState, Placement
from rbee.wire.tools import ToolChoice

FULL_DISK_PAUSE_S = 1.0


class Item(NamedTuple):
    """An event that is not stored yet: its kind, its JSON, and the id the worker gave it."""

    kind: str
    data: str
    worker_event: int | None = None
    tokens: tuple[int, ...] = ()
    event: JobEvent | None = None


def item(event: JobEvent, worker_event: int | None = None) -> Item:
    """Return ``event`` as it is stored; tokens by their numbers are kept beside it, for no reader."""
    if isinstance(event, Token) and event.ids:
        told = Token(i=event.i, t=event.t, logprobs=event.logprobs)
        return Item("token", dump(told), worker_event, event.ids, told)
    if isinstance(event, Call) and event.ids:
        piece = replace(event, ids=())
        return Item("call", dump(piece), worker_event, event.ids, piece)
    return Item(name_of(event), dump(event), worker_event, event=event)


class Need(NamedTuple):
    """What a job asks for: whoever asks for the same is told the same."""

    model: str
    placement: Placement
    context_tokens: int = 0


def need_of(spec: JobSpec, names: Names, context_tokens: int = 0) -> Need:
    """Return the need of a job; of how long its prompt is only the power of two counts."""
    coarse = 1 << (context_tokens.bit_length() - 1) if context_tokens else 0
    return Need(names.canonical(spec.model), spec.placement, coarse)


def share_of(caller: str, spec: JobSpec) -> str:
    """Return whose share of the queue a job takes: a named caller has one; of the operator's each session has."""
    return caller or (f"session {spec.session}" if spec.session else "")


Change: TypeAlias = tuple[Sequence[Item], Sequence[Move], Mapping[str, Any] | None]
"""Events, changes of state, and the record of a decision."""


class Job:
    """What changes is stored first and told then; one change at a time.

    Clocks: ``…_s`` is monotonic, and ``…_ms`` what the wall clock said when the job came and what has passed since,
    so that nothing is before what came before it, and nothing takes a year because somebody set the clock.
    """

    def __init__(self, store: Store, clock: Clock, kept: Unfinished) -> None:
        status = kept.status
        self._store = store
        self._clock = clock
        self.skew_ms = kept.skew_ms
        self._lock = asyncio.Lock()
        self._others = 0
        """How many changes wait for the lock."""
        self.seq = kept.seq
        self.id = status.id
        self.spec: JobSpec = kept.spec
        self.caller = status.caller
        self.request_id = kept.request_id
        self.state = status.state
        self.created_ms = status.created_ms
        self.waiting_since_ms = status.created_ms
        self.first_reason = ""
        """What it was told when it was accepted."""
        self.waited: Sequence[Mapping[str, Any]] = ()
        """What it waited for to no avail; kept with how it ended."""
        self.attempts = status.attempts
        self.pool = status.pool
        self.worker = status.worker
        self.worker_event = kept.last_worker_event
        self.delivered = kept.delivered
        self.said = array("I", kept.tokens)
        """The model's tokens that were told so far: another worker goes on from them."""
        self.parts = set(kept.parts)
        """The inputs whose vectors or scores were told; a worker that starts over tells them again."""
        self.seed = status.seed
        self.tokens_in = status.tokens_in
        self.told_start = status.started_ms is not None
        self.file = ""
        self.feed = Feed(kept.last_event, _pages_of(store, kept.seq))
        self.done = asyncio.Event()
        self.reason = status.reason
        self.pause_until_s = 0.0
        self.refusals = 0
        self.losses = kept.losses
        """How many workers ended by themselves while they had it."""
        self.cancelled = False
        self.verdict: RbeeError | None = None
        self.moved: RbeeError | None = None
        """Why it is to go on at another pool; its worker has been asked to end it."""
        self.told: tuple[int, str] = (-1, "")
        self.tellings = 0
        self.tell_after_s = 0.0
        self.context_tokens = 0
        self.arrived_s = self._then_s(status.created_ms)
        self.began_s = None if status.started_ms is None else self._then_s(status.started_ms)

    def at_ms(self) -> int:
        """Return what time it is for this job."""
        return self._clock.now_ms() - self.skew_ms

    @property
    def tokens(self) -> int:
        """How many tokens were told."""
        return len(self.said)

    @property
    def generation(self) -> str:
        """What a worker calls this attempt: one that a lost worker still has must not be taken for it."""
        return self.id if self.attempts <= 1 else f"{self.id[:56]}.{self.attempts}"

    @property
    def resumable(self) -> bool:
        """Whether a worker can go on exactly where another one stopped: every token told is known by its number."""
        return not self.delivered or self.tokens > 0

    @property
    def shaped(self) -> bool:
        """Whether its answer is held to a schema or to tools."""
        return self.spec.schema is not None or (bool(self.spec.tools) and self.spec.tool_choice is not ToolChoice.NONE)

    @property
    def finished(self) -> bool:
        return self.state.finished

    @property
    def pausing(self) -> bool:
        """It failed, and is not tried again yet."""
        return time.monotonic() < self.pause_until_s

    def row(self, names: Names) -> Plain:
        """Return the job as a policy is told of it."""
        return job_row(
            self.spec,
            job=self.id,
            caller=self.caller,
            waited_ms=int((time.monotonic() - self.arrived_s) * 1000),
            attempts=self.attempts,
            model=names.canonical(self.spec.model),
            prompt_bytes=self.prompt_bytes,
            context_tokens=self.context_tokens,
        )

    @cached_property
    def prompt_bytes(self) -> int:
        return prompt_bytes(self.spec)

    @cached_property
    def size(self) -> Size:
        return size_of(self.spec)

    @property
    def part_read(self) -> float:
        """How much it has read of what it only reads, 0..1."""
        return len(self.parts) / len(self.spec.inputs) if self.spec.inputs else 0.0

    @cached_property
    def blocks(self) -> tuple[bytes, ...]:
        """What its prompt begins with, to be found again at a worker that has read it."""
        return blocks_of(self.spec)

    @property
    def session(self) -> Session | None:
        return session_of(self.caller, self.spec)

    def need(self, names: Names) -> Need:
        return need_of(self.spec, names, self.context_tokens)

    def waiting(self, names: Names, not_before_s: float = 0.0) -> Waiting:
        return Waiting(
            job=self.id,
            number=self.seq,
            priority=self.spec.priority,
            caller=share_of(self.caller, self.spec),
            arrived_s=self.arrived_s,
            need=self.need(names),
            not_before_s=not_before_s,
            again=self.refusals > 0 or (self.attempts > 0 and self.state is not JobState.DISPATCHED),
        )

    async def record(
        self,
        items: Sequence[Item] = (),
        moves: Sequence[Move] = (),
        decision: Mapping[str, Any] | None = None,
        *,
        patient: bool = False,
    ) -> None:
        """Commit events and changes of state, then give the events out. Runs to its end though the caller is cancelled.

        Args:
            patient: wait for a full disk to be emptied; whoever sends the events has to wait, too.

        Raises:
            Stale: the job's state does not allow it; nothing happened.
            NoCapacity: the disk is full; nothing happened.
        """
        change = (items, moves, decision)
        while True:
            try:
                if self._lock.locked() or self._others:
                    self._others += 1
                    await asyncio.shield(asyncio.ensure_future(self._in_turn(change)))
                    return
                await self._lock.acquire()  # it is free, so this returns at once
                await self._record(change)
                return
            except NoCapacity:
                if not patient:
                    raise
                await asyncio.sleep(FULL_DISK_PAUSE_S)

    async def fail(self, error: RbeeError) -> None:
        """Raises Stale when it has ended already."""
        failure = Failure.of(error)
        columns = {"finished_ms": self.at_ms(), "error": codec.dump_json(failure), "reason": error.message}
        decision = self._end("fail", f"failed: {error.message}") | {"code": error.code}
        await self.record([item(failure)], [Move(JobState.FAILED, columns)], decision, patient=True)
        log.event(
            "job.ended", job=self.id, state=self.state.value, worker=self.worker, code=error.code,
            error=None if failure.quotes else error.message,
        )  # fmt: skip

    async def end_cancelled(self) -> None:
        """End it without a word from a worker: there is none, or it does not answer."""
        ran_ms = 0.0 if self.began_s is None else (time.monotonic() - self.began_s) * 1000
        end = End(tokens_in=0, tokens_out=self.tokens, stop_reason=StopReason.CANCELLED, decode_ms=ran_ms, ttft_ms=0.0)
        columns = {"finished_ms": self.at_ms(), "stop_reason": StopReason.CANCELLED.value, "tokens_out": self.tokens}
        decision = self._end("cancel", "was cancelled" if self.told_start else "was cancelled before it started")
        await self.record([item(end)], [Move(JobState.CANCELLED, columns)], decision, patient=True)
        log.event("job.ended", job=self.id, state=self.state.value, worker=self.worker)

    def _end(self, decision: str, sentence: str) -> dict[str, Any]:
        return {"decision": decision, "sentence": sentence, "waited": list(self.waited)}

    async def _in_turn(self, change: Change) -> None:
        await self._lock.acquire()
        self._others -= 1
        await self._record(change)

    def _record(self, change: Change) -> "asyncio.Future[None]":
        """Begin a change, with the lock held; it is let go when that is over, whoever still waits for that.

        No task: this runs for each token.
        """
        items, moves, decision = change
        attempt = next((int(m.columns["attempts"]) for m in moves if "attempts" in m.columns), self.attempts)
        first = self.feed.last_id + 1
        entries = [
            Entry(first + n, i.kind, i.data, attempt, i.worker_event, _packed(i.tokens), i.event)
            for n, i in enumerate(items)
        ]
        told = partial(self._recorded, items, moves, entries)
        try:
            if moves or decision is not None:
                work = partial(jobs.record, self.seq, entries, moves, decision, self.at_ms())
                return self._store.begin(work, told)
            return self._store.share(jobs.append, (self.seq, entries), told)
        except BaseException:
            self._lock.release()
            raise

    def _recorded(
        self, items: Sequence[Item], moves: Sequence[Move], entries: Sequence[Entry], error: BaseException | None
    ) -> None:
        """Give out what was stored; who awaits it is told after this."""
        try:
            if error is not None:
                return
            self._apply(items, moves)
            self.feed.publish(entries, finished=self.finished)
            if self.finished:
                self.done.set()
        finally:
            self._lock.release()

    def _apply(self, items: Sequence[Item], moves: Sequence[Move]) -> None:
        for move in moves:
            self.state = move.state
            for column in ("attempts", "pool", "worker", "reason"):
                if column in move.columns:
                    setattr(self, column, move.columns[column])
            if "attempts" in move.columns:
                self.worker_event, self.moved = 0, None
            if "seed" in move.columns:
                self.seed = move.columns["seed"]
            if move.state is JobState.RUNNING:
                self.began_s = self.began_s or time.monotonic()
                self.told_start = True
        for each in items:
            if each.kind in ("token", "call"):
                self.delivered = True
                self.said.extend(each.tokens)
            if isinstance(each.event, Vector | Score):
                self.parts.add(each.event.index)
            if each.worker_event is not None:
                self.worker_event = each.worker_event

    def _then_s(self, then_ms: int) -> float:
        """Return a time of this job's on the monotonic clock."""
        return time.monotonic() - max(0, self.at_ms() - then_ms) / 1000


def _pages_of(store: Store, seq: int) -> Page:
    """Return what reads a job's events from disk. It does not know the job, which would keep both in memory."""

    async def page(after: int) -> Sequence[Entry]:
        return await store.read(events.page, seq, after)

    return page


def _packed(tokens: tuple[int, ...]) -> bytes | None:
    return array("I", tokens).tobytes() if tokens else None
