"""From a worker to disk to readers: one attempt at one job.

Whatever the worker said while the last commit ran shares the next one, and nobody reads what is not committed.
A cut line is taken up where it was cut: the worker goes on for ``DETACH_S`` without us.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from rbee import log
from rbee.client.worker import Numbered, WorkerClient
from rbee.daemon.closing import closing
from rbee.errors import Conflict, NotFound, PoolUnreachable, RbeeError, Timeout, Unauthorized, WorkerLost
from rbee.queen.elsewhere import can_go_on_elsewhere
from rbee.queen.job import Item, Job, item
from rbee.queen.losses import loss_of, unexplained
from rbee.queen.pools import Pools
from rbee.queen.store.jobs import Move, Stale
from rbee.wire import continuation
from rbee.wire.events import Call, End, Failure, JobEvent, Metrics, Score, Started, StopReason, Token, Vector
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import Generation, JobSpec, JobState

DETACH_S = 60.0
WATCH_S, PROBE_S = 2.0, 3.0
EXIT_SLACK_MS = 500
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_CUT = (WorkerLost, Timeout, PoolUnreachable)


class Relay:
    """``run`` returns None when the job has ended, else why this attempt came to nothing."""

    def __init__(self, job: Job, pools: Pools, client: WorkerClient, observe: Callable[[JobEvent], None]) -> None:
        self._job = job
        self._pools = pools
        self._client = client
        self._observe = observe
        self._pool, self._worker = job.pool or "", job.worker or ""
        status = pools.status(self._pool, self._worker)
        # An idle worker's last exit is about as old as its sleep, and a running one's is older than its run.
        since_ms = None if status is None else status.since_ms
        self._began_ms = 0 if since_ms is None else since_ms + EXIT_SLACK_MS
        self._resuming = job.told_start and job.attempts > 1

    async def run(self, *, attach: bool) -> RbeeError | None:
        """Args: attach: the worker has it already; go on after the last event on disk."""
        cut_at_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        unsure = attach and self._job.state is JobState.DISPATCHED
        while True:
            seen = self._job.worker_event
            try:
                await self._pump(self._client.attach(self._job.generation, after=seen) if attach else self._begin())
                return None
            except Conflict as error:
                if attach:
                    return error
                attach = True
                continue
            except (NotFound, Unauthorized) as error:
                if not (unsure and isinstance(error, NotFound)):
                    return await self._gone() if attach else _changed(error)
                unsure = attach = False  # the queen before us ended before it came there
                continue
            except Stale:
                return None
            except _CUT as error:
                if self._unwanted() or (not attach and error.details.get("refused")):
                    return self._job.moved or error
                attach = True
                log.warning("relay.cut", job=self._job.id, worker=self._worker, error=error.message)
            except RbeeError as error:
                return error
            if self._job.worker_event > seen:
                cut_at_s, pause_s = None, _FIRST_PAUSE_S
            cut_at_s = cut_at_s or time.monotonic()
            loss = await self._loss(patient=False)
            if loss is not None:
                return loss
            hopeless = self._pool in self._pools.absent() and (
                not self._job.delivered or can_go_on_elsewhere(self._job, self._pool, self._pools)
            )
            if hopeless or time.monotonic() - cut_at_s > DETACH_S:
                return unexplained(self._pool, self._worker)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _unwanted(self) -> bool:
        return self._job.verdict is not None or self._job.cancelled or self._job.moved is not None

    def _begin(self) -> AsyncIterator[Numbered]:
        job = self._job
        known = {"seed": job.seed, "continue_from": continuation.packed(job.said)} if job.tokens else {}
        return self._client.infer(request_of(job.spec, job.generation, **known), request_id=job.request_id)

    async def _gone(self) -> RbeeError:
        """The worker answers, but knows nothing of the job: it is another process than it was."""
        return await self._loss(patient=True) or unexplained(self._pool, self._worker)

    async def _loss(self, *, patient: bool) -> WorkerLost | None:
        # Gone for certain: then any exit since the job was made will do, also one that a queen before us missed.
        since_ms = min(self._began_ms, self._job.created_ms) if patient else self._began_ms
        return await loss_of(self._pools, self._pool, self._worker, since_ms=since_ms, patient=patient)

    async def _pump(self, told: AsyncIterator[Numbered]) -> None:
        """Return when the job's last event is on disk; else raise why the stream ended."""
        watching = asyncio.create_task(self._watch(), name=f"watch-{self._job.id}")
        try:
            async with closing(told) as stream:
                begun: Numbered = ()
                async for batch in stream:
                    whole, begun = _whole([*begun, *batch])
                    await self._keep(whole)
                    if self._job.finished:
                        return
                    await self._job.feed.room()
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _watch(self) -> None:
        """A pulled cable says nothing. When the pool falls silent, see whether the worker still answers."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._pool in self._pools.absent() and not await self._answers():
                self._client.hang_up()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_S):
                await self._client.readiness()
        except (TimeoutError, *_CUT):
            return False
        except RbeeError:
            return True
        return True

    async def _keep(self, batch: Numbered) -> None:
        items: list[Item] = []
        moves: list[Move] = []
        kept: list[JobEvent] = []
        failure: RbeeError | None = None
        for number, event in batch:
            if number <= self._job.worker_event or self._told(event):
                continue
            failure = self._refusal(event)
            if failure is not None:
                break
            kept.append(event)
            items.append(item(self._signed(event), number))
            moves += _moves(event, self._job)
        if items:
            await self._job.record(items, moves, patient=True)
            for event in kept:
                self._observe(event)
        if failure is not None:
            raise failure

    def _told(self, event: JobEvent) -> bool:
        """Say whether another attempt told this part of the answer already."""
        return isinstance(event, Vector | Score) and event.index in self._job.parts

    def _signed(self, event: JobEvent) -> JobEvent:
        """Return ``event`` as readers have it: a stream starts once, and then may be resumed."""
        if not isinstance(event, Started):
            return event
        if self._resuming:
            return Metrics(tokens_out=self._job.tokens, tokens_per_s=0.0, resumed_on=f"{self._pool}:{self._worker}")
        return dataclasses.replace(event, pool=self._pool, id=None)

    def _refusal(self, event: JobEvent) -> RbeeError | None:
        """Return why ``event`` ends the attempt but not the job; None for what is passed on."""
        if isinstance(event, Failure):
            return event.to_error(f"worker:{self._worker}")
        if isinstance(event, End) and event.stop_reason is StopReason.CANCELLED and not self._job.cancelled:
            return (
                self._job.verdict
                or self._job.moved
                or WorkerLost(
                    f"worker {self._worker} on {self._pool} was stopped before the answer was complete",
                    hint="rbee-keeper pool worker list",
                    details={"pool": self._pool, "worker": self._worker},
                )
            )
        return None


def _whole(batch: Numbered) -> tuple[Numbered, Numbered]:
    """Split off pieces of the token ``i`` whose last is still to come: it has the token.

    A worker that goes on without that token says all of them again. An older one never says tokens: it is one behind.
    """
    end, last = len(batch), batch[-1][1] if batch else None
    while end and isinstance(event := batch[end - 1][1], Token | Call) and not event.ids:
        if not isinstance(last, Token | Call) or event.i != last.i:
            break
        end -= 1
    return batch[:end], batch[end:]


def request_of(spec: JobSpec, generation: str, **known: Any) -> InferenceRequest:
    """Return what a worker is asked for a job.

    Args:
        generation: what the worker is to call it.
        known: of one that goes on: the seed it has, and what was told.
    """
    asked = {field.name: getattr(spec, field.name) for field in dataclasses.fields(Generation)}
    return InferenceRequest(**{**asked, "id": generation, "detach_s": DETACH_S, **known})


def _changed(error: RbeeError) -> WorkerLost:
    return WorkerLost(f"the worker is not the one its pool told of: {error.message}", details=error.details)


def _moves(event: JobEvent, job: Job) -> list[Move]:
    if isinstance(event, Started):
        return [Move(JobState.RUNNING, {"started_ms": job.at_ms(), "seed": event.seed, "reason": ""})]
    if not isinstance(event, End):
        return []
    cancelled = event.stop_reason is StopReason.CANCELLED
    columns = {
        "finished_ms": job.at_ms(),
        "tokens_in": event.tokens_in,
        "tokens_out": event.tokens_out,
        "stop_reason": event.stop_reason.value,
        "reason": "",
    }
    return [Move(JobState.CANCELLED if cancelled else JobState.COMPLETED, columns)]
