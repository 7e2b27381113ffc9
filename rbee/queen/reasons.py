"""Why jobs wait: remembered for all with the same need together, and told to those who read them."""

import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from rbee.orchestrator_core import explain
from rbee.orchestrator_core.view import View
from rbee.queen.clock import Clock
from rbee.queen.forecast import Forecast
from rbee.queen.held import Held
from rbee.queen.job import Job, Need, item
from rbee.queen.jobs import Jobs
from rbee.wire.events import Queued

REMEMBERED = 50
"""How many reasons are remembered for each need."""

_FORGOTTEN_MS = 1000
_TELL_FIRST_S, _TELL_GROWTH, _TELL_LONGEST_S = 0.1, 1.15, 30.0
"""A waiting job's readers are told of a change at once, then less and less often."""


class Reasons:
    """
    Args:
        held: whom the policy has wait, each for a reason of its own.
        aside: does something that nobody waits for.
    """

    def __init__(
        self,
        clock: Clock,
        jobs: Jobs,
        forecast: Forecast,
        held: Held,
        aside: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        self._clock = clock
        self._jobs = jobs
        self._forecast = forecast
        self._held = held
        self._aside = aside
        self._told: dict[Need, deque[tuple[int, str]]] = {}

    def note(self, job: Job, reason: str) -> None:
        """Remember why all with the need of ``job`` wait."""
        told = self._told.setdefault(job.need(self._jobs.names), deque(maxlen=REMEMBERED))
        if not told or told[-1][1] != reason:
            told.append((self._clock.now_ms(), reason))

    def of(self, job: Job) -> str:
        """Return why ``job`` waits; what became of it, once it does not."""
        held, told = self._held.reason(job.id), self._told.get(job.need(self._jobs.names))
        if held and not job.pausing:
            return held
        return told[-1][1] if told and job.id in self._jobs.queue and not job.pausing else job.reason

    def waited(self, job: Job) -> Sequence[Mapping[str, Any]]:
        """Return what ``job`` waited for, this time."""
        noted = [(at_ms - job.skew_ms, reason) for at_ms, reason in self._told.get(job.need(self._jobs.names), ())]
        told = [*explain.waited(noted, job.waiting_since_ms), *self._held.told(job)]
        told.sort(key=lambda each: each["at_ms"])
        since_ms = told[0]["at_ms"] if told else job.at_ms()
        if job.attempts or not job.first_reason or since_ms - job.created_ms < _FORGOTTEN_MS:
            return told
        return [{"at_ms": job.created_ms, "reason": job.first_reason}, *told]  # a queen before us said so

    def forget(self) -> None:
        """Forget the needs that nobody has any more."""
        self._held.keep(self._jobs.queue)
        depths = self._jobs.queue.depths()
        self._told = {need: told for need, told in self._told.items() if need in depths}

    def tell_all(self, view: View) -> None:
        """Let the readers of waiting jobs know that a place, a reason or a prediction changed."""
        now_s = time.monotonic()
        for each in list(self._jobs.watched):
            job = self._jobs.live[each]
            place = self._jobs.queue.position(each)
            if place is not None and now_s >= job.tell_after_s:
                self._tell(job, place, view)

    def _tell(self, job: Job, place: int, view: View) -> None:
        reason = self.of(job)
        if job.told == (place, reason):
            return
        job.told, job.reason = (place, reason), reason
        job.tellings += 1
        job.tell_after_s = time.monotonic() + min(_TELL_FIRST_S * _TELL_GROWTH**job.tellings, _TELL_LONGEST_S)
        event = Queued(position=place, predicted_start_ms=self._forecast.of(job, view), reason=reason)
        self._aside(job.record([item(event)]), f"tell-{job.id}")
