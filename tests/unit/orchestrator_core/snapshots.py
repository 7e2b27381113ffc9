"""Snapshots to decide on."""

from typing import Any

from rbee.orchestrator_core.registry import Claim, Registry
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import Gpu, GpuInventory, HostResources, PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

GIB = 1 << 30


def worker(
    number: int = 0, *, model: str = "tiny", state: WorkerState = WorkerState.READY, **facts: Any
) -> WorkerStatus:
    backend = facts.pop("backend", Backend.CPU)
    return WorkerStatus(
        id=f"worker-{backend}-{number}", state=state, model=model, backend=backend, address="127.0.0.1:8001", **facts
    )


def snapshot(
    pool: str = "blep",
    *workers: WorkerStatus,
    models: tuple[str, ...] = ("tiny",),
    size_bytes: int = GIB,
    free_bytes: int = 8 * GIB,
    gpus: int = 0,
    draining: bool = False,
    instance: str = "instance-0",
) -> PoolSnapshot:
    return PoolSnapshot(
        id=pool,
        instance=instance,
        url=f"http://{pool}:9200",
        version="0",
        at_ms=0,
        draining=draining,
        backends=(Backend.CPU, Backend.CUDA) if gpus else (Backend.CPU,),
        gpus=GpuInventory(
            gpus=tuple(
                Gpu(index=n, name="a gpu", memory_total_bytes=8 * GIB, memory_free_bytes=(n + 1) * 2 * GIB)
                for n in range(gpus)
            )
        ),
        host=HostResources(cpus=2, memory_total_bytes=8 * GIB, memory_available_bytes=free_bytes, disk_free_bytes=GIB),
        workers=workers,
        models=tuple(
            ModelFile(id=model, reference=f"file:/m/{model}.gguf", paths=(), size_bytes=size_bytes) for model in models
        ),
        worker_secrets={each.id: f"secret of {each.id}" for each in workers},
    )


def registry(*snapshots: PoolSnapshot, now_s: float = 0.0) -> Registry:
    made = Registry(lost_after_s=6.0)
    for each in snapshots:
        made.register(Claim(id=each.id, instance=each.instance, url=each.url, version=each.version))
        made.heartbeat(each, now_s)
    return made
