"""Jobs that the policy has wait though they could go: why, each for itself."""

from collections import deque
from collections.abc import Container, Mapping, Sequence
from typing import Any

from rbee.queen.clock import Clock
from rbee.queen.job import Job

REASONS = 10


class Held:
    """Others that need the same wait for other reasons, or not at all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now: dict[str, str] = {}
        self._told: dict[str, deque[tuple[int, str]]] = {}

    def hold(self, job: str, reason: str) -> None:
        self._now[job] = reason
        told = self._told.setdefault(job, deque(maxlen=REASONS))
        if not told or told[-1][1] != reason:
            told.append((self._clock.now_ms(), reason))

    def release(self, job: str) -> None:
        """It is decided anew; what it waited for stays known."""
        self._now.pop(job, None)

    def reason(self, job: str) -> str:
        """Return why ``job`` is held; empty when it is not."""
        return self._now.get(job, "")

    def told(self, job: Job) -> Sequence[Mapping[str, Any]]:
        """Return all that it was held for."""
        return [{"at_ms": at_ms - job.skew_ms, "reason": reason} for at_ms, reason in self._told.get(job.id, ())]

    def keep(self, waiting: Container[str]) -> None:
        """Forget who does not wait any more."""
        self._now = {job: reason for job, reason in self._now.items() if job in waiting}
        self._told = {job: told for job, told in self._told.items() if job in waiting}
