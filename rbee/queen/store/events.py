"""A job's events on disk, as they are sent: numbered from 1, without a gap."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from rbee.queen.store.models import Event, insert_rows
from rbee.wire import events
from rbee.wire.events import JobEvent
from rbee.wire.sse import Frame

_AT_ONCE = 500
"""Events in one statement; more values than a statement may have would be too many."""


class Entry(NamedTuple):
    """One event. ``data`` is its JSON; ``worker_event`` the id it had at the worker, None for our own.

    ``event`` is what ``data`` says, where that was known when it was stored.
    """

    id: int
    kind: str
    data: str
    attempt: int = 0
    worker_event: int | None = None
    tokens: bytes | None = None
    event: JobEvent | None = None

    def read(self) -> JobEvent | None:
        """Return what it says; None for what this version does not know."""
        return self.event or events.read(self.kind, json.loads(self.data))

    def frame(self) -> Frame:
        return Frame(event=self.kind, data=self.data, id=str(self.id))


def insert(told: Sequence[tuple[int, Entry]]) -> None:
    """Store events, each with the job it is of; this runs for every token."""
    rows = [
        (job, each.id, each.kind, each.data, each.attempt, each.worker_event, each.tokens) for job, each in told
    ]  # fmt: skip
    for first in range(0, len(rows), _AT_ONCE):
        insert_rows("event (job, id, kind, data, attempt, worker_event, tokens)", rows[first : first + _AT_ONCE])


def tokens(seq: int) -> bytes:
    """Return the model's tokens that were told so far."""
    rows = Event.select(Event.tokens).where(Event.job == seq, Event.tokens.is_null(False)).order_by(Event.id)
    return b"".join(bytes(row.tokens or b"") for row in rows)


def parts(seq: int) -> frozenset[int]:
    """Return of which inputs the vectors or scores were told."""
    rows = Event.select(Event.data).where(Event.job == seq, Event.kind.in_(("vector", "score")))
    return frozenset(json.loads(row.data)["index"] for row in rows)


def page(seq: int, after: int, limit: int = 500) -> tuple[Entry, ...]:
    """Return the events that follow ``after``, oldest first."""
    rows = (
        Event.select(Event.id, Event.kind, Event.data, Event.attempt, Event.worker_event)
        .where(Event.job == seq, Event.id > after)
        .order_by(Event.id)
        .limit(limit)
    )
    return tuple(Entry(row.id, row.kind, row.data, row.attempt, row.worker_event) for row in rows)
