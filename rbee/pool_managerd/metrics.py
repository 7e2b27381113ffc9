"""Prometheus metrics of a pool, read off its newest snapshot when somebody scrapes."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rbee.wire.pools import PoolSnapshot


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
        host = found.host
        yield GaugeMetricFamily("rbee_host_memory_available_bytes", "Memory to be had.", host.memory_available_bytes)
        yield GaugeMetricFamily("rbee_host_disk_free_bytes", "Disk free for models.", host.disk_free_bytes)
        yield GaugeMetricFamily("rbee_pool_models", "Models on this host.", len(found.models))
        yield GaugeMetricFamily("rbee_pool_draining", "1 while the pool refuses new work.", int(found.draining))


def _gpus(found: PoolSnapshot) -> Iterator[GaugeMetricFamily]:
    free = GaugeMetricFamily("rbee_gpu_memory_free_bytes", "Device memory to be had.", labels=["gpu", "name"])
    for gpu in found.gpus.gpus:
        free.add_metric([str(gpu.index), gpu.name], gpu.memory_free_bytes)
    yield free


def observe(registry: CollectorRegistry, snapshot: Callable[[], PoolSnapshot | None]) -> None:
    """Let ``registry`` show what ``snapshot`` gives."""
    registry.register(_Pool(snapshot))
