"""The jobs that wait, and who is next: interactive before batch, first come first served, fair between callers."""

from collections import Counter
from dataclasses import dataclass

from rbee.wire.jobs import Priority

PROMOTED_AFTER_S = 300.0
"""A batch job that has waited this long counts as interactive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job in the queue. ``number`` is its order of arrival and stays with it when it is retried."""

    job: str
    number: int
    priority: Priority
    caller: str
    arrived_s: float
    not_before_s: float = 0.0

    def promoted(self, now_s: float) -> bool:
        return self.priority is Priority.INTERACTIVE or now_s - self.arrived_s >= PROMOTED_AFTER_S


class Queue:
    """Clocks are monotonic seconds and are passed in."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job: object) -> bool:
        return job in self._waiting

    def push(self, entry: Waiting) -> None:
        self._waiting[entry.job] = entry

    def remove(self, job: str) -> bool:
        """Take ``job`` out; False when it was not waiting."""
        return self._waiting.pop(job, None) is not None

    def order(self, now_s: float) -> tuple[Waiting, ...]:
        """Return all that wait, next first.

        Within a class the first job of each caller comes before the second of any, so nobody's hundred jobs
        stand in front of another's one.
        """
        turns: Counter[tuple[bool, str]] = Counter()
        keyed: list[tuple[tuple[bool, int, int], Waiting]] = []
        for entry in sorted(self._waiting.values(), key=lambda entry: entry.number):
            late = not entry.promoted(now_s)
            keyed.append(((late, turns[late, entry.caller], entry.number), entry))
            turns[late, entry.caller] += 1
        return tuple(entry for _, entry in sorted(keyed, key=lambda pair: pair[0]))

    def positions(self, now_s: float) -> dict[str, int]:
        """Return each job's place in the line; 0 is next."""
        return {entry.job: place for place, entry in enumerate(self.order(now_s))}

    def next_due_s(self, now_s: float) -> float | None:
        """Return when the first retry that is still pausing may be tried; None when none pauses."""
        return min((e.not_before_s for e in self._waiting.values() if e.not_before_s > now_s), default=None)

    def oldest_batch(self) -> str | None:
        """Return the batch job that came first: what the policy ``drop-lru`` gives up."""
        batch = [entry for entry in self._waiting.values() if entry.priority is Priority.BATCH]
        return min(batch, key=lambda entry: entry.number).job if batch else None
