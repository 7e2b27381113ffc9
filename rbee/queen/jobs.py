"""All unfinished jobs: those that wait, in their order, and those that a worker has."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.queue import Queue, Waiting
from rbee.queen.job import Job
from rbee.queen.timing import Timing
from rbee.wire.jobs import JobState


class Jobs:
    """In memory what the store has on disk; ``changed`` is set when a decision may come out differently.

    Args:
        ended: called once for each job, when its last event is on disk.
    """

    def __init__(self, ended: Callable[[Job], None]) -> None:
        self.live: dict[str, Job] = {}
        self.queue = Queue()
        self.timing = Timing()
        self.changed = asyncio.Event()
        self._ended = ended
        self._departing: dict[int, Job] = {}

    def wait(self, job: Job, pause_s: float = 0.0) -> None:
        """Put ``job`` in the queue, not to be tried for ``pause_s``."""
        self.live[job.id] = job
        self.queue.push(job.waiting(time.monotonic() + pause_s))
        self.changed.set()

    def ended(self, job: Job) -> None:
        """Forget a job that has ended; its readers read on."""
        if self.live.pop(job.id, None) is None:
            return
        self.queue.remove(job.id)
        if job.feed.readers:
            self._departing[job.seq] = job
        if job.state is JobState.COMPLETED and job.began_s is not None:
            self.timing.note(job.spec.model, (time.monotonic() - job.began_s) * 1000)
        self._ended(job)
        self.changed.set()

    def order(self) -> tuple[Waiting, ...]:
        return self.queue.order(time.monotonic())

    def position(self, job: str) -> int | None:
        return self.queue.positions(time.monotonic()).get(job)

    def ahead(self, job: str | None, names: Names, model: str) -> int:
        """Return how many jobs of ``model`` come before ``job``; before a new one, if that is None."""
        count = 0
        for entry in self.order():
            if entry.job == job:
                break
            count += names.same(self.live[entry.job].spec.model, model)
        return count

    def still_read(self) -> set[int]:
        """Return the sequence numbers of ended jobs that somebody reads."""
        self._departing = {seq: job for seq, job in self._departing.items() if job.feed.readers}
        return set(self._departing)

    def counts(self) -> Counter[JobState]:
        return Counter(job.state for job in self.live.values())

    def readers(self) -> int:
        departing = sum(job.feed.readers for job in self._departing.values())
        return departing + sum(job.feed.readers for job in self.live.values())
