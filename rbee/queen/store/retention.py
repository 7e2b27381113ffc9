"""What is forgotten, and when: in steady time."""

from collections.abc import Collection

from rbee.queen.store.models import Event, Job, Response, WorkerDecision
from rbee.wire.events import PARTS

finished = Job.finished_ms + Job.skew_ms


def erase_text(finished_before_ms: int, now_ms: int, keep: Collection[int] = ()) -> int:
    """Erase prompts and outputs of jobs that finished before; return how many jobs.

    Args:
        keep: sequence numbers of jobs somebody is still reading.
    """
    due = [
        row.seq
        for row in Job.select(Job.seq).where(finished <= finished_before_ms, Job.erased_ms.is_null())
        if row.seq not in keep
    ]
    for seq in due:
        erase(seq, now_ms)
    return len(due)


def erase(seq: int, now_ms: int) -> None:
    """Erase the prompt and the output of one job."""
    Event.delete().where(Event.job == seq, Event.kind.in_(PARTS)).execute()
    Response.delete().where(Response.job == seq).execute()
    Job.update(spec="", erased_ms=now_ms).where(Job.seq == seq).execute()


def delete_finished(finished_before_ms: int) -> int:
    """Delete jobs that finished before, with their events; return how many."""
    return int(Job.delete().where(finished <= finished_before_ms).execute())


def forget_workers(before_ms: int) -> int:
    """Delete what was decided about workers before; return how much that was."""
    return int(WorkerDecision.delete().where(WorkerDecision.at_ms <= before_ms).execute())
