import prometheus_client

from rbee.pool_managerd.metrics import observe
from rbee.wire.pools import Gpu
from rbee.wire.workers import Backend, WorkerSpec
from tests.fakes.pool import GIB, FakePool


def test_before_the_first_look_there_is_nothing_to_show() -> None:
    registry = prometheus_client.CollectorRegistry()
    observe(registry, lambda: None)
    assert prometheus_client.generate_latest(registry) == b""


async def test_a_snapshot_as_metrics() -> None:
    pool = FakePool()
    pool.gpus.gpus = (Gpu(index=1, name="RTX 3060", memory_free_bytes=11 * GIB),)
    async for _ in pool.service.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny")):
        pass
    snapshot = await pool.service.get_state()
    registry = prometheus_client.CollectorRegistry()
    observe(registry, lambda: snapshot)

    def value(name: str, /, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("rbee_pool_workers", state="ready") == 1
    assert value("rbee_worker_memory_bytes", worker="worker-cpu-0", model="tiny") == 1 << 20
    assert value("rbee_gpu_memory_free_bytes", gpu="1", name="RTX 3060", vendor="nvidia") == 11 * GIB
    assert value("rbee_gpu_problem", gpu="1", name="RTX 3060", vendor="nvidia") == 0
    assert value("rbee_ledger_reserved_bytes", device="host") == snapshot.devices[0].reserved_bytes > 0
    assert value("rbee_host_memory_available_bytes") == 8 * GIB
    assert value("rbee_pool_models") == 1
    assert value("rbee_pool_draining") == 0
