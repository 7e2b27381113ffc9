"""All unfinished jobs: those that wait, in their order, and those that a worker has."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.queue import Queue
from rbee.queen.job import Job
from rbee.wire.jobs import JobState


class Jobs:
    """In memory what the store has on disk; ``changed`` is set when a decision may come out differently.

    Args:
        names: of models.
        promoted_after_s: a batch job that has waited this long counts as interactive.
        ended: called once for each job, when its last event is on disk.
    """

    def __init__(self, names: Names, *, promoted_after_s: float, ended: Callable[[Job], None]) -> None:
        self.names = names
        self.live: dict[str, Job] = {}
        self.watched: set[str] = set()
        self.queue = Queue(promoted_after_s)
        self.changed = asyncio.Event()
        self._ended = ended
        self._departing: dict[int, Job] = {}

    def keep(self, job: Job) -> None:
        """Have ``job`` among those that live, and know whether somebody reads it."""
        self.live[job.id] = job
        job.feed.on_readers = partial(self._watch, job.id)
        self._watch(job.id, job.feed.readers)

    def wait(self, job: Job, pause_s: float = 0.0) -> None:
        """Put ``job`` in the queue, not to be tried for ``pause_s``."""
        now_s = time.monotonic()
        self.keep(job)
        job.pause_until_s = now_s + pause_s
        job.waiting_since_ms = job.at_ms() if job.attempts else job.created_ms
        self.queue.push(job.waiting(self.names, now_s + pause_s if pause_s else 0.0), now_s)
        self.changed.set()

    def rename(self, names: Names) -> None:
        """Take other names of models; who waits keeps his place."""
        now_s = time.monotonic()
        self.names = names
        self.queue.advance(now_s)
        for entry in self.queue.order():
            self.queue.rename(entry.job, self.live[entry.job].need(names))

    def ended(self, job: Job) -> None:
        """Forget a job that has ended; its readers read on."""
        if self.live.pop(job.id, None) is None:
            return
        self.watched.discard(job.id)
        self.queue.remove(job.id)
        if job.feed.readers:
            self._departing[job.seq] = job
        self._ended(job)
        self.changed.set()

    def still_read(self) -> set[int]:
        """Return the sequence numbers of ended jobs that somebody reads."""
        self._departing = {seq: job for seq, job in self._departing.items() if job.feed.readers}
        return set(self._departing)

    def counts(self) -> Counter[JobState]:
        return Counter(job.state for job in self.live.values())

    def readers(self) -> int:
        departing = sum(job.feed.readers for job in self._departing.values())
        return departing + sum(job.feed.readers for job in self.live.values())

    def _watch(self, job: str, readers: int) -> None:
        if readers and job in self.live:
            self.watched.add(job)
        else:
            self.watched.discard(job)
