"""What a queen that starts wants to know of the time before her: who worked last, how fast, and what was said."""

import json
from collections import Counter
from dataclasses import dataclass

from rbee.orchestrator_core.prompts import characters_to_read
from rbee.orchestrator_core.rates import REMEMBERED
from rbee.queen.store.jobs import readable_spec
from rbee.queen.store.models import Event, Job
from rbee.wire import codec
from rbee.wire.events import End
from rbee.wire.jobs import JobState, Priority

LOOKED_AT = 2000
"""So many of the last jobs; older ones say little of how things are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A worker had a job, last at ``at_ms`` of steady time. ``end`` is how that ended, if by itself.

    ``read`` is how many characters its texts had, where it only read; when nobody can say its end says nothing.
    """

    pool: str
    worker: str
    model: str
    batch: bool
    at_ms: int
    end: End | None
    read: int = 0


def worked() -> tuple[Worked, ...]:
    """Return who had the last jobs, oldest first."""
    rows = list(Job.select().where(Job.worker.is_null(False)).order_by(Job.seq.desc()).limit(LOOKED_AT))
    ended = [row.seq for row in rows if row.state == JobState.COMPLETED.value]
    ends = {row.job: row.data for row in Event.select().where(Event.job.in_(ended), Event.kind == "end")}
    told: Counter[tuple[str, str]] = Counter()
    found = []
    for row in rows:
        told[row.model, row.pool] += row.seq in ends
        found.append(_worked(row, ends.get(row.seq) if told[row.model, row.pool] <= REMEMBERED else None))
    return tuple(reversed(found))


def first_reasons() -> dict[int, str]:
    """Return what each job that is not finished was told when it was accepted, by its sequence number."""
    unfinished = Job.select(Job.seq).where(Job.finished_ms.is_null())
    firsts = Event.select(Event.job, Event.data).where(Event.id == 1, Event.job.in_(unfinished))
    return {row.job: str(json.loads(row.data).get("reason", "")) for row in firsts}


def _worked(row: Job, end: str | None) -> Worked:
    ended = None if end is None else codec.from_dict(End, json.loads(end), lenient=True)
    silent = ended is not None and not ended.tokens_out
    spec = readable_spec(row) if silent and row.spec else None
    return Worked(
        pool=row.pool,
        worker=row.worker,
        model=row.model,
        batch=row.priority == Priority.BATCH.value,
        at_ms=(row.finished_ms or row.started_ms or row.created_ms) + row.skew_ms,
        end=None if silent and spec is None else ended,
        read=0 if spec is None else characters_to_read(spec),
    )
