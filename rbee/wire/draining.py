"""Why a pool takes no new work, in one word for programs and in a clause for people."""

from collections.abc import Mapping
from enum import StrEnum


class DrainReason(StrEnum):
    """``operator`` stays until somebody undrains the pool; the others pass by themselves."""

    OPERATOR = "operator"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    SLEEP = "sleep"
    GPU_CHECK = "gpu-check"


LEAVING = frozenset({DrainReason.SHUTDOWN, DrainReason.STOP, DrainReason.SLEEP})
"""Who said that is about to fall silent, and need not be asked why."""

_NOW: Mapping[DrainReason, str] = {
    DrainReason.OPERATOR: "its operator said so",
    DrainReason.SHUTDOWN: "its host is shutting down",
    DrainReason.STOP: "rbee-pool.service is being stopped",
    DrainReason.SLEEP: "its host is going to sleep",
    DrainReason.GPU_CHECK: "its host woke up, and its GPUs are being checked",
}
_SINCE: Mapping[DrainReason, str] = {
    DrainReason.SHUTDOWN: "its host was shut down",
    DrainReason.STOP: "rbee-pool.service was stopped",
    DrainReason.SLEEP: "its host went to sleep",
}


def why_draining(reason: DrainReason) -> str:
    """Return the clause for a pool that is still heard."""
    return _NOW[reason]


def why_silent(reason: DrainReason) -> str:
    """Return the clause for a pool that is heard no more; empty where it did not say that it would go."""
    return _SINCE.get(reason, "")
