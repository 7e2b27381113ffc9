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
    assert value("rbee_ledger_reserved_bytes", device="host", vendor="") == snapshot.devices[0].reserved_bytes > 0
    assert value("rbee_host_memory_available_bytes") == 8 * GIB
    assert value("rbee_pool_models") == 1
    assert value("rbee_pool_draining") == 0


async def test_a_gpu_tells_what_it_can_and_a_lost_one_that_it_is_lost() -> None:
    pool = FakePool()
    told = Gpu(
        index=0, name="a", utilisation_percent=63, temperature_c=66, power_w=212.5, xid=79, memory_used_bytes=GIB
    )
    pool.gpus.gpus = (
        told,
        Gpu(index=1, name="b", problem="it has fallen off the bus"),
        Gpu(index=0, name="c", vendor="amd"),
    )
    snapshot = await pool.service.get_state()
    registry = prometheus_client.CollectorRegistry()
    observe(registry, lambda: snapshot)

    def value(name: str, gpu: str, called: str, vendor: str = "nvidia") -> float | None:
        return registry.get_sample_value(name, {"gpu": gpu, "name": called, "vendor": vendor})

    assert value("rbee_gpu_utilisation_ratio", "0", "a") == 0.63
    assert value("rbee_gpu_temperature_celsius", "0", "a") == 66
    assert value("rbee_gpu_power_watts", "0", "a") == 212.5
    assert value("rbee_gpu_memory_used_bytes", "0", "a") == GIB
    assert (value("rbee_gpu_power_watts", "1", "b"), value("rbee_gpu_problem", "1", "b")) == (None, 1)
    assert value("rbee_gpu_problem", "0", "c", "amd") == 0
    assert (value("rbee_gpu_xid", "0", "a"), value("rbee_gpu_xid", "1", "b")) == (79, None)
    samples = [(sample.name, *sample.labels.items()) for each in registry.collect() for sample in each.samples]
    assert len(samples) == len(set(samples)), "Prometheus refuses two of the same labels: two vendors' GPU 0"
