"""Who has the memory of a device, and who of them could be moved. Sorted out once for each snapshot, by the fleet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rbee.orchestrator_core.devices import DeviceKey, keys_of, share
from rbee.orchestrator_core.names import Names
from rbee.wire.pools import Device, PoolSnapshot
from rbee.wire.workers import WorkerState, WorkerStatus

TENURE_OF_LOAD = 4.0
SHORTEST_TENURE_S, LONGEST_TENURE_S = 3.0, 60.0
USUAL_LOAD_MS = 5000
"""For a worker whose loading nobody has seen."""

_GONE = frozenset({WorkerState.ASLEEP, WorkerState.STOPPED, WorkerState.FAILED})
"""States in which a worker has no memory."""


class Movable(NamedTuple):
    """A worker that might be evicted, by what its pool says; what the queen knows may speak against it.

    ``model`` is in its canonical spelling; ``tenure_s`` is what was left of its tenure when the pool spoke.
    """

    key: tuple[str, str]
    model: str
    tenure_s: float
    worker: WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """
    Args:
        all: whoever has memory there.
        movable: those of them who are ready, not pinned, and have any; ``keys`` are theirs.
        young: the models of ``movable``, where all of them have some of their tenure left; else None.
        movable_bytes: what all of ``movable`` have there.
        ours: bytes that those have who may give them up, now or when their work is done.
    """

    all: tuple[WorkerStatus, ...] = ()
    movable: tuple[Movable, ...] = ()
    keys: frozenset[tuple[str, str]] = frozenset()
    young: frozenset[str] | None = None
    movable_bytes: int = 0
    ours: int = 0


NOBODY = Holders()


def tenure_s(worker: WorkerStatus, at_ms: int) -> float:
    """Return how long a worker was still to keep its place when its pool's clock showed ``at_ms``; 0: no longer.

    Where that clock was set back since, nobody knows, and a tenure that does not end would be worse than none.
    """
    if worker.since_ms is None or worker.since_ms > at_ms:
        return 0.0
    load_s = (worker.load_ms or USUAL_LOAD_MS) / 1000
    whole_s = min(max(TENURE_OF_LOAD * load_s, SHORTEST_TENURE_S), LONGEST_TENURE_S)
    return min(max(0.0, whole_s - (at_ms - worker.since_ms) / 1000), whole_s)


def holders_of(snapshot: PoolSnapshot, devices: Sequence[Device], names: Names) -> Mapping[DeviceKey, Holders]:
    """Return who has the memory of each of ``devices``, the pool's."""
    there: dict[DeviceKey, list[WorkerStatus]] = {}
    for worker in snapshot.workers:
        if worker.state not in _GONE:
            for device in keys_of(worker, devices):
                there.setdefault(device, []).append(worker)
    return {device: _sorted_out(device, having, snapshot, names) for device, having in there.items()}


def _sorted_out(device: DeviceKey, having: list[WorkerStatus], snapshot: PoolSnapshot, names: Names) -> Holders:
    movable = tuple(
        Movable((snapshot.id, each.id), names.canonical(each.model), tenure_s(each, snapshot.at_ms), each)
        for each in having
        if each.state is WorkerState.READY and not each.pinned and share(each, device) > 0
    )
    return Holders(
        all=tuple(having),
        movable=movable,
        keys=frozenset(each.key for each in movable),
        young=frozenset(each.model for each in movable) if all(each.tenure_s for each in movable) else None,
        movable_bytes=sum(share(each.worker, device) for each in movable),
        ours=sum(share(each, device) for each in having if not each.pinned),
    )
