"""Snapshots to decide on."""

from typing import Any

from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.registry import Claim, Registry
from rbee.orchestrator_core.view import View
from rbee.wire.catalog import ModelFile
from rbee.wire.draining import DrainReason
from rbee.wire.pools import Device, Gpu, GpuInventory, HostResources, Need, PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

GIB = 1 << 30


def worker(
    number: int = 0, *, model: str = "tiny", state: WorkerState = WorkerState.READY, **facts: Any
) -> WorkerStatus:
    backend = facts.pop("backend", Backend.CPU)
    return WorkerStatus(
        id=f"worker-{backend}-{number}", state=state, model=model, backend=backend, address="127.0.0.1:8001", **facts
    )


def cuda(number: int = 0, *, gpu: int = 0, need: int = GIB, **facts: Any) -> WorkerStatus:
    """A worker on a GPU that takes ``need`` bytes of it."""
    return worker(number, backend=Backend.CUDA, gpu=gpu, need_bytes=need, **facts)


def rocm(number: int = 0, *, gpu: int = 0, need: int = GIB, **facts: Any) -> WorkerStatus:
    """As ``cuda``, on a GPU of AMD's."""
    return worker(number, backend=Backend.ROCM, gpu=gpu, need_bytes=need, **facts)


def device(
    gpu: int | None = None, *, free: int = 8 * GIB, total: int = 8 * GIB, problem: str = "", vendor: str = "nvidia"
) -> Device:
    """A line of a ledger."""
    backend = Backend.CPU if gpu is None else {"nvidia": Backend.CUDA, "amd": Backend.ROCM}[vendor]
    maker = "" if gpu is None else vendor
    return Device(backends=(backend,), gpu=gpu, vendor=maker, total_bytes=total, free_bytes=free, problem=problem)


def need(model: str = "tiny", *, takes: int = GIB, backend: Backend = Backend.CUDA, load_ms: int | None = None) -> Need:
    return Need(model=model, backend=backend, bytes=takes, ctx=4096, load_ms=load_ms)


def snapshot(
    pool: str = "blep",
    *workers: WorkerStatus,
    models: tuple[str, ...] = ("tiny",),
    size_bytes: int = GIB,
    free_bytes: int = 8 * GIB,
    gpus: int = 0,
    draining: bool = False,
    drain_reason: DrainReason | None = None,
    instance: str = "",
    devices: tuple[Device, ...] = (),
    needs: tuple[Need, ...] = (),
) -> PoolSnapshot:
    return PoolSnapshot(
        id=pool,
        instance=instance or f"instance-of-{pool}",
        url=f"http://{pool}:9200",
        version="0",
        at_ms=0,
        draining=draining,
        drain_reason=drain_reason,
        backends=tuple(_backends(gpus, devices)),
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
        devices=devices,
        needs=needs,
        worker_secrets={each.id: f"secret of {each.id}" for each in workers},
    )


def registry(*snapshots: PoolSnapshot, now_s: float = 0.0, names: Names | None = None) -> Registry:
    made = Registry(lost_after_s=6.0, names=names)
    for each in snapshots:
        made.register(Claim(id=each.id, instance=each.instance, url=each.url, version=each.version))
        made.heartbeat(each, now_s)
    return made


def view(*snapshots: PoolSnapshot, names: Names | None = None, now_s: float = 0.0, **known: Any) -> View:
    """What a queen knows who heard these snapshots at 0 s."""
    return View(fleet=registry(*snapshots, names=names).fleet(now_s), now_s=now_s, **known)


def _backends(gpus: int, devices: tuple[Device, ...]) -> list[Backend]:
    if devices:
        return sorted({backend for each in devices for backend in each.backends}, key=list(Backend).index)
    return [Backend.CPU, Backend.CUDA] if gpus else [Backend.CPU]
