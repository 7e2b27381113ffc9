"""The scheduler alone, at a size no house has: python -m bench.scheduler [POOLS] [WORKERS OF EACH] [JOBS]

A fleet of that size hears heartbeats while jobs wait, run and end. Measured is one decision as the queen makes it: what
is new of the fleet, who is next, where he goes; with all slots taken, with some free, and with nobody to be had but by
eviction. Nothing else runs in between, and nothing is stored or sent.
"""

import dataclasses
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.queue import Queue, Waiting
from rbee.orchestrator_core.registry import Claim, Registry
from rbee.orchestrator_core.scheduling import decide
from rbee.orchestrator_core.view import Use, View
from rbee.wire.catalog import ModelFile
from rbee.wire.jobs import JobSpec, Priority
from rbee.wire.pools import Device, HostResources, Need, PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

GIB = 1 << 30
MODELS, RARE = 40, 99
"""``RARE`` lies on every pool, and nobody runs it."""

SLOTS = 4
DECISIONS = 2000


def snapshot(number: int, workers: int, random_: random.Random) -> PoolSnapshot:
    """Return a pool whose GPUs are full of workers of some models; it has the files of more."""
    models = random_.sample(range(MODELS), 12)
    files = tuple(
        ModelFile(id=f"model-{n}", reference=f"file:/m/{n}.gguf", paths=(), size_bytes=6 * GIB) for n in (*models, RARE)
    )
    running = tuple(
        WorkerStatus(
            id=f"worker-cuda-{n}", state=WorkerState.READY, model=f"model-{models[n % len(models)]}", address="",
            backend=Backend.CUDA, gpu=n % 2, slots=SLOTS, ctx=4096, need_bytes=6 * GIB, load_ms=4000, since_ms=1,
        )
        for n in range(workers)
    )  # fmt: skip
    devices = [Device(backends=(Backend.CPU,), total_bytes=64 * GIB, free_bytes=8 * GIB)]
    devices += [Device(backends=(Backend.CUDA,), gpu=n, total_bytes=24 * GIB, free_bytes=0) for n in range(2)]
    needs = tuple(Need(model=file.id, backend=Backend.CUDA, bytes=6 * GIB, ctx=4096, load_ms=4000) for file in files)
    host = HostResources(cpus=16, memory_total_bytes=64 * GIB, memory_available_bytes=8 * GIB, disk_free_bytes=GIB)
    return PoolSnapshot(
        id=f"pool-{number:04}", instance=f"instance-{number:04}", url=f"http://pool-{number}:9200",
        version="0", at_ms=10_000_000, backends=(Backend.CPU, Backend.CUDA), host=host, workers=running, models=files,
        devices=tuple(devices), needs=needs,
    )  # fmt: skip


class House:
    """Everything a decision is made from."""

    def __init__(self, pools: int, workers: int, jobs: int) -> None:
        self.random = random.Random(1)
        self.names = Names()
        self.snapshots = [snapshot(n, workers, self.random) for n in range(pools)]
        self.registry = Registry(lost_after_s=60, names=self.names)
        for each in self.snapshots:
            self.registry.register(Claim(id=each.id, instance=each.instance, url=each.url, version=each.version))
            self.registry.heartbeat(each, 0.0)
        self.registry.fleet(0.0)
        self.in_flight: Counter[tuple[str, str]] = Counter()
        self.used = {(s.id, w.id): Use(-self.random.random() * 900) for s in self.snapshots for w in s.workers}
        self.queue = Queue()
        for n in range(jobs):
            self.queue.push(self.job(n), 0.0)

    def job(self, number: int) -> Waiting:
        return Waiting(
            job=f"job-{number}", number=number, priority=Priority.BATCH if number % 3 else Priority.INTERACTIVE,
            caller=f"caller-{number % 20}", arrived_s=0.0, need=f"model-{number % MODELS}",
        )  # fmt: skip

    def fill(self, free: Callable[[], int]) -> None:
        """Take the slots of every worker but ``free()``."""
        for each in self.snapshots:
            for worker in each.workers:
                self.in_flight[each.id, worker.id] = SLOTS - free()

    def view(self) -> View:
        waiting = {str(need): depth for need, depth in self.queue.depths().items()}
        return View(
            fleet=self.registry.fleet(1.0), now_s=1.0, in_flight=self.in_flight, used=self.used, waiting=waiting
        )

    def decide(self, model: str = "") -> float:
        """Return how many ms the next decision took, a heartbeat that came just before included."""
        told = dataclasses.replace(self.random.choice(self.snapshots), at_ms=10_000_001)
        began_s = time.perf_counter()
        self.registry.heartbeat(told, 1.0)
        self.queue.advance(1.0)
        head = next(self.queue.heads())
        decide(JobSpec(model=model or str(head.need), prompt="x"), self.view())
        took_ms = (time.perf_counter() - began_s) * 1000
        self.queue.serve(head.job)
        self.queue.push(dataclasses.replace(head, number=head.number + 1_000_000), 0.0)
        return took_ms


def main(pools: int = 1000, workers: int = 8, jobs: int = 10_000) -> None:
    began_s = time.perf_counter()
    house = House(pools, workers, jobs)
    print(f"{pools} pools x {workers} workers, {jobs} jobs wait; made in {time.perf_counter() - began_s:.1f} s")
    for name, free, model in (
        ("all slots taken", lambda: 0, ""),
        ("one slot in fifty free", lambda: int(house.random.random() < 0.02), ""),
        ("all slots free", lambda: SLOTS, ""),
        ("evict for a new model", lambda: SLOTS, f"model-{RARE}"),
    ):
        house.fill(free)
        took = sorted(house.decide(model) for _ in range(DECISIONS if not model else DECISIONS // 10))
        p99 = took[int(len(took) * 0.99)]
        print(f"  {name:24} p50 {statistics.median(took):6.2f} ms   p99 {p99:6.2f} ms   most {took[-1]:6.2f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
