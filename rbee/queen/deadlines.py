"""When each job has had its time, so that nobody has to look at all of them."""

import heapq
from collections.abc import Iterator

from rbee.queen.job import Job


class Deadlines:
    """
    Args:
        limits: seconds a job may run by default, and at most.
    """

    def __init__(self, limits: tuple[float, float]) -> None:
        self._limits = limits
        self._heap: list[tuple[float, str]] = []

    def watch(self, job: Job) -> None:
        """Take ``job`` down with the time it has now; called again when it begins to run."""
        due_s, _ = self.due(job)
        if due_s is not None:
            heapq.heappush(self._heap, (due_s, job.id))

    def next_s(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def passed(self, live: dict[str, Job], now_s: float) -> Iterator[tuple[Job, str]]:
        """Yield the jobs whose time is over, and what to say."""
        while self._heap and self._heap[0][0] <= now_s:
            job = live.get(heapq.heappop(self._heap)[1])
            due_s, why = self.due(job) if job is not None else (None, "")
            if job is None or due_s is None:
                continue
            if due_s <= now_s:
                yield job, why
            else:
                self.watch(job)

    def due(self, job: Job) -> tuple[float | None, str]:
        """Return when ``job`` has had its time, on the monotonic clock, and what to say then."""
        if job.verdict is not None or job.cancelled:
            return None, ""
        usual_s, most_s = self._limits
        deadline_ms = job.spec.deadline_ms
        by_deadline = None if deadline_ms is None else job.arrived_s + deadline_ms / 1000
        limit_s = usual_s if deadline_ms is None else min(deadline_ms / 1000, most_s)
        by_limit = None if job.began_s is None else job.began_s + limit_s
        if by_deadline is not None and (by_limit is None or by_deadline <= by_limit):
            return by_deadline, f"job {job.id} was not done within its deadline of {deadline_ms} ms"
        return by_limit, f"job {job.id} ran longer than {limit_s:g} s"
