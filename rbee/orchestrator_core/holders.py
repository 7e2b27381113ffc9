"""Who has the memory of a device. Sorted out once for each snapshot, by the fleet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rbee.orchestrator_core.rooms import gpus_of, share
from rbee.wire.workers import WorkerState, WorkerStatus

GONE = frozenset({WorkerState.ASLEEP, WorkerState.STOPPED, WorkerState.FAILED})
"""States in which a worker has no memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """
    Args:
        all: whoever has memory there.
        movable: who might be evicted, by what the pool says; what the queen knows may speak against it.
        ours: bytes that those have who may give them up, now or when their work is done.
        movable_bytes: what all of ``movable`` have.
    """

    all: tuple[WorkerStatus, ...] = ()
    movable: tuple[WorkerStatus, ...] = ()
    ours: int = 0
    movable_bytes: int = 0


NOBODY = Holders()


def holders_of(workers: Iterable[WorkerStatus]) -> Mapping[int | None, Holders]:
    """Return who has the memory of each device; the host's is None."""
    there: dict[int | None, list[WorkerStatus]] = {}
    for worker in workers:
        if worker.state not in GONE:
            for gpu in dict.fromkeys(gpus_of(worker)):
                there.setdefault(gpu, []).append(worker)
    return {gpu: _sorted_out(having) for gpu, having in there.items()}


def _sorted_out(having: list[WorkerStatus]) -> Holders:
    movable = [each for each in having if each.state is WorkerState.READY and not each.pinned and share(each) > 0]
    return Holders(
        all=tuple(having),
        movable=tuple(movable),
        ours=sum(share(each) for each in having if not each.pinned),
        movable_bytes=sum(share(each) for each in movable),
    )
