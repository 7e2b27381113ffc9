"""Prometheus metrics of a pool, read off its newest snapshot when somebody scrapes."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rbee.wire.pools import Device, Gpu, PoolSnapshot


class _Pool(Collector):
    def __init__(self, snapshot: Callable[[], PoolSnapshot | None]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._snapshot()
        if found is None:
            return
        workers = GaugeMetricFamily("rbee_pool_workers", "Workers, by state.", labels=["state"])
        states = [worker.state.value for worker in found.workers]
        for state in sorted(set(states)):
            workers.add_metric([state], states.count(state))
        memory = GaugeMetricFamily("rbee_worker_memory_bytes", "Memory in use.", labels=["worker", "model"])
        for worker in found.workers:
            if worker.memory_current_bytes is not None:
                memory.add_metric([worker.id, worker.model], worker.memory_current_bytes)
        yield workers
        yield memory
        yield from _gpus(found)
        yield from _devices(found)
        host = found.host
        yield GaugeMetricFamily("rbee_host_memory_available_bytes", "Memory to be had.", host.memory_available_bytes)
        yield GaugeMetricFamily("rbee_host_disk_free_bytes", "Disk free for models.", host.disk_free_bytes)
        yield GaugeMetricFamily("rbee_pool_models", "Models on this host.", len(found.models))
        yield GaugeMetricFamily("rbee_pool_draining", "1 while the pool refuses new work.", int(found.draining))


def _gpus(found: PoolSnapshot) -> Iterator[GaugeMetricFamily]:
    for name, text, value in _OF_GPU:
        family = GaugeMetricFamily(name, text, labels=["gpu", "name", "vendor"])
        for gpu in found.gpus.gpus:
            told = value(gpu)
            if told is not None:
                family.add_metric([str(gpu.index), gpu.name, gpu.vendor], told)
        yield family


def _devices(found: PoolSnapshot) -> Iterator[GaugeMetricFamily]:
    for name, text, value in _OF_DEVICE:
        family = GaugeMetricFamily(name, text, labels=["device", "vendor"])
        for device in found.devices:
            family.add_metric(["host" if device.gpu is None else f"gpu {device.gpu}", device.vendor], value(device))
        yield family


_OF_GPU: Sequence[tuple[str, str, Callable[[Gpu], float | None]]] = (
    ("rbee_gpu_memory_free_bytes", "Device memory that nobody uses.", lambda gpu: gpu.memory_free_bytes),
    ("rbee_gpu_memory_used_bytes", "Device memory in use, by whomever.", lambda gpu: gpu.memory_used_bytes),
    ("rbee_gpu_utilisation_ratio", "How busy it is, 0 to 1.", lambda gpu: _percent(gpu.utilisation_percent)),
    ("rbee_gpu_temperature_celsius", "How hot it is.", lambda gpu: gpu.temperature_c),
    ("rbee_gpu_power_watts", "What it draws.", lambda gpu: gpu.power_w),
    ("rbee_gpu_ecc_errors", "Uncorrected memory errors since the driver was loaded.", lambda gpu: gpu.ecc_errors),
    ("rbee_gpu_xid", "The last critical error the driver told of; absent: none.", lambda gpu: gpu.xid),
    ("rbee_gpu_problem", "1 while nothing can run on it.", lambda gpu: float(bool(gpu.problem))),
)
_OF_DEVICE: Sequence[tuple[str, str, Callable[[Device], float]]] = (
    ("rbee_ledger_free_bytes", "What a new worker may have.", lambda device: device.free_bytes),
    ("rbee_ledger_reserved_bytes", "What our workers have or will have.", lambda device: device.reserved_bytes),
    ("rbee_ledger_foreign_bytes", "What everybody else has.", lambda device: device.foreign_bytes),
)


def _percent(percent: int | None) -> float | None:
    return None if percent is None else percent / 100


def observe(registry: CollectorRegistry, snapshot: Callable[[], PoolSnapshot | None]) -> None:
    """Let ``registry`` show what ``snapshot`` gives."""
    registry.register(_Pool(snapshot))
