"""May this job join the queue? Decided before anything is stored."""

from dataclasses import dataclass
from typing import TypeAlias

from rbee.errors import DeadlineUnmet, QueueFull, RbeeError
from rbee.orchestrator_core.queue import Queue
from rbee.wire.jobs import JobSpec

UNBOUNDED = -1
_USUAL_JOB_S = 5.0
_LONGEST_RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class Accept:
    """``displaces`` is the waiting job that has to leave for it, if any."""

    displaces: str | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    error: RbeeError


Admission: TypeAlias = Accept | Refuse


def admit(
    spec: JobSpec, queue: Queue, *, capacity: int, policy: str, predicted_start_ms: int | None, job_ms: float | None
) -> Admission:
    """Accept ``spec`` or say why not.

    Args:
        capacity: how many may wait; -1 is unbounded.
        policy: ``reject`` or ``drop-lru``: what to do with one more.
        predicted_start_ms: from now; None where nothing is known.
        job_ms: how long a job of this model took lately; None where nothing is known.
    """
    if spec.deadline_ms is not None and predicted_start_ms is not None and predicted_start_ms > spec.deadline_ms:
        return Refuse(_unmet(spec.deadline_ms, predicted_start_ms))
    if capacity == UNBOUNDED or len(queue) < capacity:
        return Accept()
    displaced = queue.oldest_batch() if policy == "drop-lru" else None
    if displaced is not None:
        return Accept(displaces=displaced)
    return Refuse(full(len(queue), capacity, job_ms))


def full(waiting: int, capacity: int, job_ms: float | None = None) -> QueueFull:
    """Return the error that says how long to stay away: about the time one waiting job takes."""
    usual_s = job_ms / 1000 if job_ms is not None else _USUAL_JOB_S
    return QueueFull(
        f"the queue holds {waiting} jobs, its capacity is {capacity}",
        hint="try again later, or raise [queen] queue_capacity",
        details={
            "retry_after_s": max(1, min(round(usual_s), _LONGEST_RETRY_AFTER_S)),
            "waiting": waiting,
            "capacity": capacity,
        },
    )


def _unmet(deadline_ms: int, predicted_start_ms: int) -> DeadlineUnmet:
    return DeadlineUnmet(
        f"deadline_ms is {deadline_ms}, but the job would start in about {predicted_start_ms} ms",
        hint="allow more time, or try when fewer jobs wait",
        details={"deadline_ms": deadline_ms, "predicted_start_ms": predicted_start_ms},
    )
