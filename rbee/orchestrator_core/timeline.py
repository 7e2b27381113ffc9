"""The story of a job from what was kept of it: when it came, what was done for it, how it ended. Pure; in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbee.wire.jobs import JobState, JobStatus, Priority
from rbee.wire.words import counted
from rbee.wire.workers import WorkerDecision


def timeline(
    status: JobStatus,
    decisions: Sequence[Mapping[str, Any]],
    workers: Sequence[tuple[str, str, WorkerDecision]],
) -> tuple[Mapping[str, Any], ...]:
    """Return what happened to a job, in its order.

    Args:
        decisions: that were kept about the job.
        workers: pool, worker and decision: what was done to workers for it.
    """
    told = [_accepted(status), *decisions, *map(_about_worker, workers), *_ended(status, decisions)]
    return tuple(sorted(told, key=lambda each: int(each["at_ms"])))


def _accepted(status: JobStatus) -> Mapping[str, Any]:
    of_caller = f" of {status.caller}" if status.caller else ""
    kind = "a batch job" if status.priority is Priority.BATCH else "an interactive job"
    sentence = f"accepted as {kind}{of_caller} for {status.model}"
    return {"at_ms": status.created_ms, "decision": "accept", "sentence": sentence}


def _about_worker(known: tuple[str, str, WorkerDecision]) -> Mapping[str, Any]:
    pool, worker, told = known
    sentence = f"{told.why}: {worker}" if told.decision == "spawn" else f"{worker} on {pool} was {told.why}"
    return {"at_ms": told.at_ms, "decision": told.decision, "pool": pool, "worker": worker, "sentence": sentence}


def _ended(status: JobStatus, decisions: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield how it ended, unless that was kept as a decision: then it ended by the queen's will."""
    if status.finished_ms is None or (decisions and decisions[-1].get("decision") in ("fail", "cancel")):
        return
    said = counted(status.tokens_out or 0, "token")
    if status.state is JobState.COMPLETED:
        sentence = f"completed with {said}"
    elif status.state is JobState.CANCELLED:
        sentence = f"was cancelled after {said}"
    else:
        sentence = f"failed: {status.reason}"
    yield {"at_ms": status.finished_ms, "decision": "end", "sentence": sentence}
