"""Jobs that the policy has wait though they could go: why, each for itself."""

from collections import deque
from collections.abc import Container, Sequence

REASONS = 10


class Held:
    """Others that need the same wait for other reasons, or not at all."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._told: dict[str, deque[tuple[int, str]]] = {}

    def hold(self, job: str, reason: str, now_ms: int) -> None:
        self._now[job] = reason
        told = self._told.setdefault(job, deque(maxlen=REASONS))
        if not told or told[-1][1] != reason:
            told.append((now_ms, reason))

    def release(self, job: str) -> None:
        """It is decided anew; what it waited for stays known."""
        self._now.pop(job, None)

    def reason(self, job: str) -> str:
        """Return why ``job`` is held; empty when it is not."""
        return self._now.get(job, "")

    def told(self, job: str) -> Sequence[tuple[int, str]]:
        """Return all that it was held for, and since when, in ms of the queen's clock."""
        return tuple(self._told.get(job, ()))

    def keep(self, waiting: Container[str]) -> None:
        """Forget who does not wait any more."""
        self._now = {job: reason for job, reason in self._now.items() if job in waiting}
        self._told = {job: told for job, told in self._told.items() if job in waiting}
