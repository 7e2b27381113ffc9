"""What is forgotten, and when: in steady time."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from rbee.queen.store.models import Decision, Event, Job, Response, WorkerDecision
from rbee.wire import codec, events
from rbee.wire.events import LAST, PARTS

finished = Job.finished_ms + Job.skew_ms

AT_ONCE = 500
"""So many jobs are erased by one write: nobody else writes meanwhile."""


def erase_text(finished_before_ms: int, now_ms: int, keep: Collection[int] = ()) -> int:
    """Erase prompts and outputs of jobs that finished before, ``AT_ONCE`` at most; return of how many.

    Args:
        keep: sequence numbers of jobs somebody is still reading.
    """
    left = Job.select(Job.seq).where(finished <= finished_before_ms, Job.erased_ms.is_null()).order_by(Job.seq)
    due = [row.seq for row in left.limit(AT_ONCE + len(keep)) if row.seq not in keep][:AT_ONCE]
    for seq in due:
        erase(seq, now_ms)
    return len(due)


def erase(seq: int, now_ms: int) -> None:
    """Erase the prompt and the output of one job, and what of them is repeated in how it ended."""
    Event.delete().where(Event.job == seq, Event.kind.in_(PARTS)).execute()
    Response.delete().where(Response.job == seq).execute()
    Job.update(spec="", erased_ms=now_ms).where(Job.seq == seq).execute()
    for row in Event.select().where(Event.job == seq, Event.kind.in_(LAST)):
        told = json.loads(row.data)
        left = events.without_text(row.kind, told)
        if left != told:
            Event.update(data=codec.dump_json(left)).where(Event.job == seq, Event.id == row.id).execute()
            if row.kind == "error":
                _erase_error(seq, left)


def _erase_error(seq: int, left: Mapping[str, Any]) -> None:
    """Leave of a job's error what was left of the event that told it, wherever it is repeated."""
    Job.update(error=codec.dump_json(left), reason=left["message"]).where(Job.seq == seq).execute()
    for row in Decision.select().where(Decision.job == seq):
        decision = json.loads(row.data)
        if decision.get("code") == left["code"]:
            data = json.dumps({**decision, "sentence": left["message"]})
            Decision.update(data=data).where(Decision.id == row.id).execute()


def delete_finished(finished_before_ms: int) -> int:
    """Delete jobs that finished before, with their events; return how many."""
    return int(Job.delete().where(finished <= finished_before_ms).execute())


def forget_workers(before_ms: int) -> int:
    """Delete what was decided about workers before; return how much that was."""
    return int(WorkerDecision.delete().where(WorkerDecision.at_ms <= before_ms).execute())
