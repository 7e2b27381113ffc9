"""The life of a job: which state may follow which, and how long a retry waits."""

from collections.abc import Mapping

from rbee.wire.jobs import JobState

ATTEMPTS = 5
LOSSES = 2
"""So many workers may end under a job whose answer has a shape; the third would be lost to the same schema."""

_LONGEST_BACKOFF_S = 16.0

LEGAL: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.DISPATCHED, JobState.FAILED, JobState.CANCELLED}),
    JobState.DISPATCHED: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.RETRIED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.RUNNING: frozenset({JobState.RETRIED, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}),
    JobState.RETRIED: frozenset({JobState.DISPATCHED, JobState.FAILED, JobState.CANCELLED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""``dispatched`` → ``queued`` is a worker that refused for want of a slot: no attempt was made."""


def may_follow(state: JobState) -> frozenset[JobState]:
    """Return the states a job may be in just before ``state``: what a guarded UPDATE expects."""
    return frozenset(before for before, after in LEGAL.items() if state in after)


def may_try_again(attempts: int, *, losses: int, shaped: bool) -> bool:
    """Say whether a job is tried once more whose attempt failed for a reason that passes.

    Args:
        losses: how many workers ended by themselves while they had it.
        shaped: its answer is held to a schema or to tools. What is computed for all is the same for all; what is
            computed for a schema its caller has written.
    """
    return attempts < ATTEMPTS and not (shaped and losses >= LOSSES)


def backoff_s(attempt: int, spread: float) -> float:
    """Return the pause after the ``attempt``-th failed attempt: 1, 2, 4, 8, 16 s, times 0.5..1.5.

    Args:
        spread: 0..1, random; where in that range.
    """
    return min(2.0 ** (max(attempt, 1) - 1), _LONGEST_BACKOFF_S) * (0.5 + spread)
