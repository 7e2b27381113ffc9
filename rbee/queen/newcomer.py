"""A job that wants in: whose it is, what it will be called, and what is stored of it when it may."""

import hashlib
import secrets
from dataclasses import dataclass, replace

from rbee.queen.clock import Clock
from rbee.queen.job import Job
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import NewJob, Stored, Unfinished
from rbee.queen.store.store import Store
from rbee.wire import codec
from rbee.wire.events import Queued
from rbee.wire.jobs import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks. ``caller`` is empty for the operator."""

    caller: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """``id`` is the one that ``spec`` names, or one that is new."""

    id: str
    spec: JobSpec
    asker: Asker

    @property
    def is_known(self) -> bool:
        """Whether its caller chose the id, so that others may have heard of it."""
        return self.spec.id is not None

    def digest(self) -> str:
        """Return what tells whether two jobs of one id are the same."""
        return hashlib.sha256(codec.dump_json(replace(self.spec, id=None)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is stored of a job that may enter: itself, and what it is told first.

    Args:
        tokens: how many its prompt has at least.
    """

    new: NewJob
    first: Queued
    entry: Entry
    tokens: int

    @classmethod
    def of(cls, newcomer: Newcomer, clock: Clock, first: Queued, tokens: int) -> "Arrival":
        created_ms = clock.wall_ms()
        new = NewJob(
            id=newcomer.id,
            digest=newcomer.digest(),
            spec=newcomer.spec,
            caller=newcomer.asker.caller,
            request_id=newcomer.asker.request_id,
            created_ms=created_ms,
            skew_ms=clock.now_ms() - created_ms,
        )
        return cls(new, first, Entry(1, "queued", codec.dump_json(first)), tokens)

    def job(self, store: Store, clock: Clock, stored: Stored) -> Job:
        """Return the job, now that it is ``stored``."""
        unfinished = Unfinished(
            seq=stored.seq,
            spec=self.new.spec,
            request_id=self.new.request_id,
            status=stored.status,
            last_event=0,
            last_worker_event=0,
            delivered=False,
            skew_ms=self.new.skew_ms,
        )
        job = Job(store, clock, unfinished)
        job.feed.publish([self.entry])
        job.context_tokens = self.tokens
        return job


def new_id() -> str:
    return f"job-{secrets.token_hex(6)}"
