"""A host in memory: systemd, models, GPUs, a worker's own API."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee.errors import Conflict, DownloadFailed, ModelNotFound, NotFound, RbeeError, Timeout, WorkerLost
from rbee.pool_core import names, placement, unit
from rbee.pool_core.condition import Condition
from rbee.pool_core.declared import Declaration
from rbee.pool_core.load import Load
from rbee.pool_core.ports import (
    HeldFacts,
    HoldPlan,
    Measured,
    PoolFacts,
    PortTaken,
    Resident,
    StartProgress,
    UnitFacts,
    WorkerPlan,
)
from rbee.pool_core.service import PoolService
from rbee.wire.catalog import DownloadEvent, ModelEntry, ModelFile, ModelPart, Verification
from rbee.wire.git import GitChange, GitStatus, GitSubmodule, GitUpdate
from rbee.wire.pools import Build, Gpu, GpuInventory, HostResources
from rbee.wire.workers import Backend, LogLine, WorkerExit

GIB = 1 << 30


def load(backend: Backend = Backend.CPU, *, ctx: int = 2048, slots: int = 1, **more: Any) -> Load:
    return Load(backend=backend, ctx=ctx, slots=slots, **more)


PROGRAM = "/opt/rbee/bin/llm-worker-rbee"
TINY = ModelFile(
    id="tiny",
    reference="file:/models/tiny.gguf",
    paths=("/models/tiny.gguf",),
    size_bytes=500_000,
    context_tokens=2048,
    kv_bytes_per_token=512,
)
PLAN = WorkerPlan(
    id="worker-cpu-0",
    backend="cpu",
    model="tiny",
    model_paths=("/models/tiny.gguf",),
    address="127.0.0.1:8001",
    ctx=512,
    slots=2,
    idle_s=300,
    memory_bytes=1 << 30,
    threads=2,
)
PLACE = unit.Place(
    mode=unit.Mode.SYSTEM,
    program=PROGRAM,
    secrets="/run/rbee/workers",
    watchdog_s=60,
    load_timeout_s=300,
    stop_grace_s=30,
)
FACTS = PoolFacts(
    id="blep",
    instance="0123456789abcdef",
    url="http://127.0.0.1:9200",
    version="1",
    worker_host="127.0.0.1",
    ports=range(8001, 8006),
    ctx=4096,
    slots=1,
    idle_s=300,
    threads=0,
    load_timeout_s=300,
)


def facts_of(plan: WorkerPlan = PLAN, **changes: object) -> UnitFacts:
    """Return what systemd says of a worker that is ready, but for ``changes``."""
    ready = UnitFacts(
        id=plan.id,
        argv=tuple(unit.argv(plan, PROGRAM)),
        service_state="active",
        service_sub_state="running",
        socket_state="active",
        result="success",
        status_text="ready 0/1 slots",
        restarts=0,
        pid=42,
        memory_current_bytes=1 << 20,
        memory_limit_bytes=plan.memory_bytes,
        since_ms=1000,
        made_ms=1000,
        cpu_percent=plan.cpu_percent,
    )
    return dataclasses.replace(ready, **changes)  # type: ignore[arg-type]


ASLEEP = {"service_state": "inactive", "service_sub_state": "dead", "pid": None, "status_text": ""}


@dataclass
class FakeUnits:
    """systemd. ``strangers`` hold ports; ``will_end`` is how the next start goes wrong."""

    strangers: set[int] = field(default_factory=set)
    hidden_ids: set[str] = field(default_factory=set)
    will_end: WorkerExit | None = None
    exits: dict[str, WorkerExit] = field(default_factory=dict)
    workers: dict[str, UnitFacts] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    holding: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    busy: set[str] = field(default_factory=set)
    """Workers that do not end when they are drained, for what they have to answer."""

    async def create(self, plan: WorkerPlan) -> None:
        if names.socket(plan.id) in {names.socket(worker) for worker in {*self.workers, *self.hidden_ids}}:
            raise Conflict(f"there is a worker in unit {names.socket(plan.id)} already")
        if placement.port_of(plan.address) in self._ports():
            raise PortTaken(plan.address)
        self.workers[plan.id] = facts_of(plan, **ASLEEP)

    def _ports(self) -> set[int]:
        plans = [unit.plan_from_argv(facts.argv) for facts in self.workers.values()]
        return self.strangers | {placement.port_of(plan.address) for plan in plans}

    async def start(self, worker: str) -> AsyncIterator[StartProgress]:
        facts = self._require(worker)
        yield StartProgress(sub_state="start", status_text="loading 40% tiny")
        if self.will_end is not None:
            self.exits[worker] = self.will_end
            yield StartProgress(sub_state="failed", status_text="", done=True, result=self.will_end.result)
            return
        ready = facts_of(unit.plan_from_argv(facts.argv, memory_bytes=facts.memory_limit_bytes or 0))
        self.workers[worker] = dataclasses.replace(ready, cpu_percent=facts.cpu_percent, argv=facts.argv)
        yield StartProgress(sub_state="running", status_text="ready 0/1 slots", done=True, result="done")

    async def stop(self, worker: str) -> None:
        self._require(worker)
        del self.workers[worker]

    async def release(self, worker: str) -> None:
        self.released.append(worker)
        self.workers[worker] = dataclasses.replace(self._require(worker), socket_state="inactive")

    async def changes(self) -> AsyncGenerator[None, None]:
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield

    async def until_asleep(self, worker: str, within_s: float) -> None:
        self.waited_s.append(within_s)
        self.workers[worker] = dataclasses.replace(self._require(worker), **ASLEEP)

    async def until_gone(self, worker: str, within_s: float) -> None:
        self.waited_s.append(within_s)
        if worker in self.busy:
            raise Timeout(f"rbee-{worker}.service had not ended after {within_s:.0f} s")
        self.workers.pop(worker, None)

    async def list(self) -> tuple[UnitFacts, ...]:
        return tuple(self.workers.values())

    async def find(self, worker: str) -> UnitFacts | None:
        return self.workers.get(worker)

    async def secret(self, worker: str) -> str:
        return f"secret of {self._require(worker).id}"

    async def last_exit(self, worker: str) -> WorkerExit | None:
        return self.exits.get(worker)

    async def hold(self, plan: HoldPlan) -> None:
        self.holding.append(plan.model)

    async def release_model(self, model: str) -> None:
        if model not in self.holding:
            raise NotFound(f"model {model} is not held in memory", hint="rbee-hive models list")
        self.holding.remove(model)

    async def held(self) -> tuple[HeldFacts, ...]:
        return tuple(HeldFacts(model=model, state="active") for model in self.holding)

    async def logs(self, worker: str, lines: int) -> tuple[LogLine, ...]:
        all_lines = [LogLine(at_ms=n, priority=6, message=f"line {n} of {worker}") for n in range(5)]
        return tuple(all_lines[-lines:]) if worker in self.workers else ()

    def _require(self, worker: str) -> UnitFacts:
        if worker not in self.workers:
            raise NotFound(f"no worker {worker}", hint="rbee-hive worker list")
        return self.workers[worker]


@dataclass
class FakeModels:
    files: dict[str, ModelFile] = field(default_factory=lambda: {"tiny": TINY})
    hub: set[str] | None = None
    """What can be downloaded; None: anything, and of nothing is anything kept."""
    declared: set[str] = field(default_factory=set)
    """What somebody else puts there."""

    async def list(self) -> tuple[ModelFile, ...]:
        return tuple(self.files.values())

    async def catalog(self) -> tuple[ModelEntry, ...]:
        return tuple(ModelEntry(id=m.id, reference=m.reference, present=True) for m in self.files.values())

    async def find(self, reference: str) -> ModelFile | None:
        return self.files.get(reference)

    async def absence(self, reference: str) -> RbeeError:
        return ModelNotFound(f"model {reference} is not on this host", hint=f"rbee-hive models download {reference}")

    async def unfetchable(self, reference: str) -> RbeeError | None:
        return await self.absence(reference) if reference in self.declared else None

    async def download(self, reference: str) -> AsyncIterator[DownloadEvent]:
        if why := await self.unfetchable(reference):
            raise why
        made = dataclasses.replace(TINY, id=reference)
        if self.hub is not None:
            yield DownloadEvent(state="downloading", bytes_done=1, bytes_total=4)
            if reference not in self.hub:
                raise DownloadFailed(f"the hub has no {reference}", hint="rbee-hive models catalog")
            self.files[reference] = dataclasses.replace(made, paths=(f"/models/{reference}.gguf",))
        yield DownloadEvent(state="done", model=made)

    async def import_file(self, path: str, model: str | None) -> ModelFile:
        return dataclasses.replace(TINY, id=model or "imported", paths=(path,))

    async def parts(self, model: str) -> tuple[tuple[str, ModelPart], ...]:
        return ()

    async def verify(self, model: str) -> Verification:
        return Verification(id=model, ok=True, size_bytes=1, sha256="0")

    async def delete(self, model: str) -> None:
        if model not in self.files:
            raise await self.absence(model)
        del self.files[model]


@dataclass
class FakeGpus:
    gpus: Iterable[Gpu] = ()
    reason: str = "NVML is not installed"
    builds: tuple[Build, ...] = ()

    async def inventory(self) -> GpuInventory:
        return GpuInventory(gpus=tuple(self.gpus), reason="" if self.gpus else self.reason, builds=self.builds)

    async def reopened(self) -> GpuInventory:
        return await self.inventory()


@dataclass
class FakeHost:
    available_bytes: int = 8 * GIB

    residents: dict[int, Resident] = field(default_factory=dict)

    async def resident(self, pids: Collection[int]) -> Mapping[int, Resident]:
        return {pid: each for pid, each in self.residents.items() if pid in pids}

    room_bytes: int = 100 * GIB

    async def room_to_keep(self) -> int:
        return self.room_bytes

    async def resources(self) -> HostResources:
        return HostResources(
            cpus=4,
            memory_total_bytes=16 * GIB,
            memory_available_bytes=self.available_bytes,
            disk_free_bytes=100 * GIB,
        )


@dataclass
class FakeControl:
    drained: list[tuple[str, str]] = field(default_factory=list)

    slept: list[tuple[str, str]] = field(default_factory=list)
    busy: bool = False
    deaf: bool = False
    """It takes no connection any more."""

    async def drain(self, address: str, secret: str) -> None:
        if self.deaf:
            raise WorkerLost(f"cannot reach {address}")
        self.drained.append((address, secret))

    async def sleep(self, address: str, secret: str) -> None:
        if self.busy:
            raise Conflict("worker has 1 requests")
        self.slept.append((address, secret))


@dataclass
class FakeBook:
    """What was measured, in memory; ``held`` counts who promises memory at the same time."""

    measured: dict[str, Measured] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def known(self) -> Mapping[str, Measured]:
        return dict(self.measured)

    async def note(self, seen: Mapping[str, Measured]) -> None:
        self.measured |= seen

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._lock:
            yield


@dataclass
class FakeTurn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self.lock:
            yield


@dataclass
class FakeFlag:
    draining: bool = False

    def is_set(self) -> bool:
        return self.draining

    until: int | None = None

    def until_ms(self) -> int | None:
        return self.until

    def set(self, draining: bool, until_ms: int | None = None) -> None:
        self.draining, self.until = draining, until_ms if draining else None


CHECKOUT = GitStatus(
    path="/srv/house", branch="main", commit="c0ffee", remote="https://git/house", upstream="origin/main"
)


@dataclass
class FakeCheckout:
    dirty: tuple[GitChange, ...] = ()

    async def status(self) -> GitStatus:
        return dataclasses.replace(CHECKOUT, changes=self.dirty)

    async def submodules(self) -> tuple[GitSubmodule, ...]:
        return (GitSubmodule(id="lib", path="lib", commit="1", wanted_commit="1"),)

    async def pull(self) -> GitUpdate:
        if self.dirty:
            raise Conflict("/srv/house has local changes", hint="rbee-hive git sync --yes")
        return GitUpdate(path="/srv/house", branch="main", before="a", after="b")

    async def sync(self, discard: bool) -> GitUpdate:
        if self.dirty and not discard:
            raise Conflict("a sync of /srv/house would throw away changes", hint="rbee-hive git sync --yes")
        return GitUpdate(path="/srv/house", branch="main", before="a", after="b", discarded=self.dirty)


@dataclass
class FakePool:
    """A PoolService and all that it stands on."""

    facts: PoolFacts = FACTS
    units: FakeUnits = field(default_factory=FakeUnits)
    models: FakeModels = field(default_factory=FakeModels)
    gpus: FakeGpus = field(default_factory=FakeGpus)
    host: FakeHost = field(default_factory=FakeHost)
    book: FakeBook = field(default_factory=FakeBook)
    control: FakeControl = field(default_factory=FakeControl)
    flag: FakeFlag = field(default_factory=FakeFlag)
    checkout: FakeCheckout = field(default_factory=FakeCheckout)
    condition: Condition = field(default_factory=Condition)
    turn: FakeTurn = field(default_factory=FakeTurn)
    declaration: Declaration = field(default_factory=Declaration)
    now_ms: int = 5000
    warnings: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def service(self) -> PoolService:
        return PoolService(
            self.facts,
            units=self.units,
            models=self.models,
            gpus=self.gpus,
            host=self.host,
            book=self.book,
            control=self.control,
            flag=self.flag,
            checkout=self.checkout,
            turn=self.turn,
            declaration=self.declaration,
            now_ms=lambda: self.now_ms,
            condition=self.condition,
            warn=lambda what, **facts: self.warnings.append((what, facts)),
        )
