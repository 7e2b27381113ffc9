"""The scheduler alone, at a size no house has: python -m bench.scheduler

A fleet of that size hears heartbeats while jobs wait, run and end. Measured is one decision as the queen makes it: what
is new of the fleet, who is next, where he goes. Nothing else runs in between, and nothing is stored or sent. Python's
garbage collector runs when it wants to, as it does in the queen.
"""

import dataclasses
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bench.report import Cell, Table, goal, percentile, program
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
WORST_MS = 5.0
NOW_MS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """
    Args:
        busy: of a worker's slots, how many are taken.
        model: whom the decisions are for; empty: for who is next.
        state: of all workers.
        free: bytes of each GPU.
        young: the workers have just been loaded, so that they keep their place while jobs for them wait.
    """

    name: str
    busy: Callable[[random.Random], int]
    model: str = ""
    state: WorkerState = WorkerState.READY
    free: int = 0
    young: bool = False


SHAPES = (
    Shape(name="all slots taken", busy=lambda _: SLOTS),
    Shape(name="one slot in fifty free", busy=lambda each: SLOTS - int(each.random() < 0.02)),
    Shape(name="all slots free", busy=lambda _: 0),
    Shape(name="all asleep: whom to wake", busy=lambda _: 0, state=WorkerState.ASLEEP, free=24 * GIB),
    Shape(name="a new model: where, of 2000 GPUs with room", busy=lambda _: 0, model=f"model-{RARE}", free=12 * GIB),
    Shape(name="a new model: whom to evict, of 2000 GPUs", busy=lambda _: 0, model=f"model-{RARE}"),
    Shape(name="a new model, and everybody works", busy=lambda _: 1, model=f"model-{RARE}"),
    Shape(name="a new model, and everybody was just loaded", busy=lambda _: 0, model=f"model-{RARE}", young=True),
)


def snapshot(number: int, workers: int, shape: Shape, random_: random.Random) -> PoolSnapshot:
    """Return a pool with two GPUs and workers of some models; it has the files of more."""
    models = random_.sample(range(MODELS), 12)
    files = tuple(
        ModelFile(id=f"model-{n}", reference=f"file:/m/{n}.gguf", paths=(), size_bytes=6 * GIB) for n in (*models, RARE)
    )
    running = tuple(
        WorkerStatus(
            id=f"worker-cuda-{n}", state=shape.state, model=f"model-{models[n % len(models)]}", address="",
            backend=Backend.CUDA, gpu=n % 2, slots=SLOTS, ctx=4096, need_bytes=6 * GIB, load_ms=4000,
            since_ms=NOW_MS - 1000 if shape.young else 1,
        )
        for n in range(workers)
    )  # fmt: skip
    devices = [Device(backends=(Backend.CPU,), total_bytes=64 * GIB, free_bytes=8 * GIB)]
    devices += [Device(backends=(Backend.CUDA,), gpu=n, total_bytes=24 * GIB, free_bytes=shape.free) for n in range(2)]
    needs = tuple(Need(model=file.id, backend=Backend.CUDA, bytes=6 * GIB, ctx=4096, load_ms=4000) for file in files)
    host = HostResources(cpus=16, memory_total_bytes=64 * GIB, memory_available_bytes=8 * GIB, disk_free_bytes=GIB)
    return PoolSnapshot(
        id=f"pool-{number:04}", instance=f"instance-{number:04}", url=f"http://pool-{number}:9200",
        version="0", at_ms=NOW_MS, backends=(Backend.CPU, Backend.CUDA), host=host, workers=running, models=files,
        devices=tuple(devices), needs=needs,
    )  # fmt: skip


class House:
    """Everything a decision is made from."""

    def __init__(self, pools: int, workers: int, jobs: int, shape: Shape) -> None:
        self.random = random.Random(1)
        self.shape = shape
        self.names = Names()
        self.snapshots = [snapshot(n, workers, shape, self.random) for n in range(pools)]
        self.registry = Registry(lost_after_s=60, names=self.names)
        for each in self.snapshots:
            self.registry.register(Claim(id=each.id, instance=each.instance, url=each.url, version=each.version))
            self.registry.heartbeat(each, 0.0)
        self.registry.fleet(0.0)
        keys = [(s.id, w.id) for s in self.snapshots for w in s.workers]
        self.in_flight = Counter({key: taken for key in keys if (taken := shape.busy(self.random))})
        self.used = {key: Use(-self.random.random() * 900) for key in keys}
        self.queue = Queue()
        for n in range(jobs):
            self.queue.push(self.job(n), 0.0)

    def job(self, number: int) -> Waiting:
        return Waiting(
            job=f"job-{number}", number=number, priority=Priority.BATCH if number % 3 else Priority.INTERACTIVE,
            caller=f"caller-{number % 20}", arrived_s=0.0, need=f"model-{number % MODELS}",
        )  # fmt: skip

    def view(self) -> View:
        waiting = {str(need): depth for need, depth in self.queue.depths().items()}
        return View(
            fleet=self.registry.fleet(1.0), now_s=1.0, in_flight=self.in_flight, used=self.used, waiting=waiting
        )

    def decide(self) -> float:
        """Return how many ms the next decision took, a heartbeat that came just before included."""
        told = dataclasses.replace(self.random.choice(self.snapshots), at_ms=NOW_MS + 1)
        began_s = time.perf_counter()
        self.registry.heartbeat(told, 1.0)
        self.queue.advance(1.0)
        head = next(self.queue.heads())
        decide(JobSpec(model=self.shape.model or str(head.need), prompt="x"), self.view())
        took_ms = (time.perf_counter() - began_s) * 1000
        self.queue.serve(head.job)
        self.queue.push(dataclasses.replace(head, number=head.number + 1_000_000), 0.0)
        return took_ms


def measure(pools: int = 1000, workers: int = 8, jobs: int = 10_000) -> Table:
    """Decide ``DECISIONS`` times in a house of each shape."""
    ran = f"{pools:,} pools × {workers} workers, {jobs:,} jobs wait; {DECISIONS:,} decisions each, all counted."
    rows: list[list[Cell]] = []
    for shape in SHAPES:
        house = House(pools, workers, jobs, shape)
        took = [house.decide() for _ in range(DECISIONS)]
        p99 = percentile(took, 0.99)
        rows.append([shape.name, statistics.median(took), p99, max(took), goal(p99, WORST_MS)])
    return Table(name="scheduler", ran=ran, columns=("", "p50 ms", "p99 ms", "most ms", "goal for p99"), rows=rows)


if __name__ == "__main__":
    program(__doc__, measure, pools=1000, workers=8, jobs=10_000)
