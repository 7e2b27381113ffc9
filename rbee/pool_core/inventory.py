"""What a GPU inventory says: which GPU fits, and which backends there are."""

from collections.abc import Collection

from rbee.errors import BackendUnavailable, InsufficientVram, InvalidRequest
from rbee.wire.pools import Gpu, GpuInventory
from rbee.wire.workers import Backend

CPU_BACKENDS = frozenset({Backend.CPU})


def require_backend(wanted: Backend, available: Collection[Backend], inventory: GpuInventory) -> None:
    """Refuse a backend this host cannot do. There is no falling back to the CPU.

    Raises:
        BackendUnavailable: names those there are.
    """
    if wanted in available:
        return
    names = sorted(str(backend) for backend in available)
    why = f" ({inventory.reason})" if inventory.reason and wanted is Backend.CUDA else ""
    raise BackendUnavailable(
        f"backend {wanted} is not available on this host{why}",
        hint=f"ask for one of: {', '.join(names)}",
        details={"backend": str(wanted), "available": names},
    )


def choose_gpu(wanted: int | None, needed_bytes: int, inventory: GpuInventory) -> Gpu:
    """Return the GPU asked for, else the fullest one that still has ``needed_bytes`` free.

    Raises:
        InvalidRequest: there is no GPU of that index.
        InsufficientVram: it, or each of them, has less free.
    """
    gpus = [gpu for gpu in inventory.gpus if wanted is None or gpu.index == wanted]
    if not gpus:
        there = ", ".join(str(gpu.index) for gpu in inventory.gpus) or "none"
        raise InvalidRequest(f"gpu is {wanted}, expected one of: {there}", hint="rbee-hive gpu status")
    roomy = [gpu for gpu in gpus if gpu.memory_free_bytes >= needed_bytes]
    if roomy:
        return min(roomy, key=lambda gpu: (gpu.memory_free_bytes, gpu.index))
    best = max(gpus, key=lambda gpu: gpu.memory_free_bytes)
    raise InsufficientVram(
        f"gpu {best.index} has {best.memory_free_bytes} bytes free, {needed_bytes} are needed",
        hint="stop a worker there, ask for less --ctx or --slots, or take a smaller model",
        details={"needed_bytes": needed_bytes, "free_bytes": best.memory_free_bytes, "gpu": best.index},
    )
