"""What a queen that starts wants to know of the time before her: who worked last, how fast, and what was said."""

import json
from dataclasses import dataclass

from rbee.queen.store.models import Event, Job
from rbee.wire import codec
from rbee.wire.events import End
from rbee.wire.jobs import JobState, Priority

LOOKED_AT = 2000
"""So many of the last jobs; older ones say little of how things are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A worker had a job, last at ``at_ms`` of steady time. ``end`` is how that ended, if by itself."""

    pool: str
    worker: str
    model: str
    batch: bool
    at_ms: int
    end: End | None


def worked() -> tuple[Worked, ...]:
    """Return who had the last jobs, oldest first."""
    rows = list(Job.select().where(Job.worker.is_null(False)).order_by(Job.seq.desc()).limit(LOOKED_AT))
    ended = [row.seq for row in rows if row.state == JobState.COMPLETED.value]
    ends = {row.job: row.data for row in Event.select().where(Event.job.in_(ended), Event.kind == "end")}
    return tuple(
        Worked(
            pool=row.pool,
            worker=row.worker,
            model=row.model,
            batch=row.priority == Priority.BATCH.value,
            at_ms=(row.finished_ms or row.started_ms or row.created_ms) + row.skew_ms,
            end=codec.from_dict(End, json.loads(ends[row.seq]), lenient=True) if row.seq in ends else None,
        )
        for row in reversed(rows)
    )


def first_reasons() -> dict[int, str]:
    """Return what each job that is not finished was told when it was accepted, by its sequence number."""
    unfinished = Job.select(Job.seq).where(Job.finished_ms.is_null())
    firsts = Event.select(Event.job, Event.data).where(Event.id == 1, Event.job.in_(unfinished))
    return {row.job: str(json.loads(row.data).get("reason", "")) for row in firsts}
