"""Pools for a queen that is measured: they register and send heartbeats as pool-managerd does.

Nothing is behind them. Each has workers at addresses that the bench gives, and as many models and GPUs as a pool at
home may have.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rbee.client.queen import QueenClient
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import Device, Gpu, GpuInventory, GpuProcess, HostResources, Need, PoolRegistration, PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

GIB = 1 << 30
HEARTBEAT_S = 2.0


def worker(number: int, *, model: str, address: str = "127.0.0.1:9", slots: int = 64) -> WorkerStatus:
    return WorkerStatus(
        id=f"worker-cuda-{number}", state=WorkerState.READY, model=model, backend=Backend.CUDA, address=address,
        unit=f"rbee-worker-cuda-{number}.service", gpu=number % 2, slots=slots, idle_s=300, pid=1000 + number,
        memory_limit_bytes=8 * GIB, memory_current_bytes=5 * GIB + number, since_ms=1, status="ready 0/1 slots",
        need_bytes=5 * GIB, device_bytes=5 * GIB, load_ms=4000,
    )  # fmt: skip


def snapshot(
    pool: str, workers: tuple[WorkerStatus, ...], *, models: int = 8, gpus: int = 2, at_ms: int
) -> PoolSnapshot:
    """Return what a pool says of itself at ``at_ms``; numbers move from one heartbeat to the next, as they do."""
    names = dict.fromkeys([*(each.model for each in workers), *(f"model-{n}" for n in range(models))])
    files = tuple(
        ModelFile(
            id=name, reference=f"file:/var/lib/rbee/models/{name}.gguf", paths=(f"/var/lib/rbee/models/{name}.gguf",),
            size_bytes=4 * GIB, sha256="0" * 64, architecture="llama", parameters=8_000_000_000, context_tokens=8192,
        )
        for name in list(names)[:models]
    )  # fmt: skip
    moved = at_ms % 997 * 4096
    cards = tuple(
        Gpu(
            index=n, name="NVIDIA GeForce RTX 3090", uuid=f"GPU-{n}", memory_total_bytes=24 * GIB,
            memory_used_bytes=10 * GIB + moved, memory_free_bytes=14 * GIB - moved, utilisation_percent=at_ms % 100,
            temperature_c=60, power_w=200.0 + at_ms % 50, pci=f"0000:0{n}:00.0", compute_capability="8.6",
            processes=tuple(GpuProcess(pid=each.pid or 0, worker=each.id) for each in workers if each.gpu == n),
        )
        for n in range(gpus)
    )  # fmt: skip
    host_free = 40 * GIB - moved
    devices = [Device(backends=(Backend.CPU,), total_bytes=64 * GIB, free_bytes=host_free)]
    devices += [
        Device(backends=(Backend.CUDA,), gpu=n, total_bytes=24 * GIB, free_bytes=14 * GIB - moved) for n in range(gpus)
    ]
    return PoolSnapshot(
        id=pool, instance=f"instance-of-{pool}", url="http://127.0.0.1:9", version="0", at_ms=at_ms,
        backends=(Backend.CPU, Backend.CUDA), gpus=GpuInventory(gpus=cards, driver="550.0"),
        host=HostResources(
            cpus=16, memory_total_bytes=64 * GIB, memory_available_bytes=host_free, disk_free_bytes=100 * GIB
        ),
        workers=workers, models=files, devices=tuple(devices),
        needs=tuple(
            Need(model=file.id, backend=backend, bytes=5 * GIB, ctx=4096, measured=True, load_ms=4000)
            for file in files
            for backend in (Backend.CPU, Backend.CUDA)
        ),
        worker_secrets={each.id: "nobody-checks-it" for each in workers},
    )  # fmt: skip


@contextlib.asynccontextmanager
async def speaking(queen: QueenClient, pool: str, workers: tuple[WorkerStatus, ...]) -> AsyncIterator[None]:
    """Register ``pool`` and let it speak every ``HEARTBEAT_S``."""
    registration = PoolRegistration(instance=f"instance-of-{pool}", url="http://127.0.0.1:9", version="0")
    await queen.register_pool(pool, registration)
    await queen.heartbeat(pool, snapshot(pool, workers, at_ms=1000))

    async def speak() -> None:
        at_ms = 1000
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            at_ms += int(HEARTBEAT_S * 1000)
            await queen.heartbeat(pool, snapshot(pool, workers, at_ms=at_ms))

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
