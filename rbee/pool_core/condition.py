"""What befalls this host while its daemon lives, and what that means for its pool. Pure.

It is on no disk: it ends with the process, and a daemon that starts asks logind how things are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rbee.pool_core import ledger
from rbee.pool_core.ports import DrainFlag
from rbee.wire.draining import DrainReason
from rbee.wire.pools import VENDORS, Gpu, GpuInventory
from rbee.wire.workers import WorkerStatus

NOT_BACK = "it did not come back after this host slept"


@dataclass(frozen=True, slots=True)
class Drain:
    """Why no new work is taken, and from when on what runs is to go on elsewhere."""

    reason: DrainReason
    until_ms: int | None = None


@dataclass(slots=True)
class Condition:
    """``missing`` are the GPUs that a sleep cost, by uuid; ``casualties`` the workers that went with them, and why."""

    drain: Drain | None = None
    missing: Mapping[str, Gpu] = field(default_factory=dict)
    casualties: dict[str, str] = field(default_factory=dict)


def drain_of(condition: Condition, flag: DrainFlag) -> Drain | None:
    """Return why the pool drains; what befalls its host comes before what its operator wants, for it is sooner."""
    if condition.drain is not None:
        return condition.drain
    return Drain(DrainReason.OPERATOR, flag.until_ms()) if flag.is_set() else None


def absent(before: Iterable[Gpu], now: GpuInventory) -> Sequence[Gpu]:
    """Return those of ``before`` that worked and do not answer now, each with what is wrong with it."""
    here = {gpu.uuid: gpu for gpu in now.gpus}
    worked = [gpu for gpu in before if gpu.uuid and not gpu.problem]
    return [
        replace(gpu, memory_free_bytes=0, problem=here[gpu.uuid].problem if gpu.uuid in here else NOT_BACK)
        for gpu in worked
        if gpu.uuid not in here or here[gpu.uuid].problem
    ]


def with_missing(now: GpuInventory, missing: Mapping[str, Gpu]) -> GpuInventory:
    """Return the inventory with those that are not even listed any more, numbered after the last one."""
    here = {gpu.uuid for gpu in now.gpus}
    gone = [gpu for uuid, gpu in missing.items() if uuid not in here]
    first = max((gpu.index for gpu in now.gpus), default=-1) + 1
    numbered = (replace(gpu, index=first + n, processes=()) for n, gpu in enumerate(gone))
    return replace(now, gpus=(*now.gpus, *numbered))


def bereft(workers: Iterable[WorkerStatus], missing: Sequence[Gpu]) -> Mapping[str, str]:
    """Return the workers that were using a GPU that is missing, and what to say of each."""
    found = {}
    for worker in workers:
        lost = [gpu for gpu in missing if ledger.is_on(worker, gpu.index, VENDORS[gpu.vendor])]
        if lost and worker.state in ledger.HOLDING:
            found[worker.id] = f"worker {worker.id} lost its GPU: {told(lost[0])}"
    return found


def told(gpu: Gpu) -> str:
    """Return ``gpu 1 (RTX 3070): it has fallen off the bus``."""
    return f"gpu {gpu.index} ({gpu.name}): {gpu.problem}"
