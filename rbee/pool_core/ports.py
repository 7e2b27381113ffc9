"""What the pool's logic needs of the world; adapters fill these, tests fake them."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from rbee.errors import RbeeError
from rbee.pool_core.usual import NOTHING, Usual
from rbee.wire.catalog import DownloadEvent, ModelEntry, ModelFile, ModelPart, Verification
from rbee.wire.fields import sparse
from rbee.wire.git import GitStatus, GitSubmodule, GitUpdate
from rbee.wire.pools import GpuInventory, HostResources
from rbee.wire.workers import LogLine, WorkerExit


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """A worker with every number decided: what the units are built from. See ``pool_core.unit``."""

    id: str
    backend: str
    model: str
    model_paths: tuple[str, ...]
    address: str
    ctx: int
    slots: int
    idle_s: int
    memory_bytes: int
    gpu: int | None = None
    gpus: tuple[int, ...] = ()
    """All of them, where one does not suffice; then ``gpu`` is the first."""
    split: tuple[int, ...] = ()
    """How many percent of the model each of ``gpus`` takes."""
    cpu_percent: int | None = None
    threads: int = 0
    pinned: bool = False
    spare: bool = False
    kv: str = "f16"
    batch: int = 128
    """Tokens of all slots together that are read in one step."""
    gpu_layers: int | None = None
    adapter_paths: tuple[str, ...] = ()
    """Of the adapters that ``model`` names, in that order."""
    keep: bool = False
    priority: int = sparse(0)
    declared: bool = sparse(False)
    """Made because rbee.toml declares it, and to be stopped when that does so no more."""
    limited: bool = sparse(False)
    """``memory_bytes`` was asked for; else it was predicted."""

    @property
    def files(self) -> tuple[str, ...]:
        """All that it reads."""
        return (*self.model_paths, *self.adapter_paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlan:
    """What to hold. The rest is what ``sandbox`` asks of whoever reads models."""

    model: str
    model_paths: tuple[str, ...]
    size_bytes: int
    backend: str = "cpu"
    gpu: int | None = None
    gpus: tuple[int, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All that it reads."""
        return self.model_paths


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFacts:
    """A unit that holds a model, or is about to."""

    model: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitLimits:
    """What ``[worker]`` decides of a unit beside its command line: seconds, and another llama.cpp's folder."""

    load_timeout_s: float | None
    stop_grace_s: float | None
    watchdog_s: float | None
    llama_lib: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """What systemd says of one worker's pair of units. Microsecond clocks are turned into ms since the epoch."""

    id: str
    argv: tuple[str, ...]
    service_state: str
    service_sub_state: str
    socket_state: str
    result: str
    status_text: str
    restarts: int
    pid: int | None
    memory_current_bytes: int | None
    memory_limit_bytes: int | None
    since_ms: int | None
    load_ms: int | None = None
    """How long its last start took, from the first process to ready."""
    made_ms: int | None = None
    """When its socket was made: what happened under this name before is another worker's story."""
    cpu_percent: int | None = None
    limits: UnitLimits | None = None
    """What the unit was told of the settings of its time; None where systemd does not say."""
    program_missing: bool = False
    """The file in ``ExecStart`` is no more (an upgrade took it away): it cannot start again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProgress:
    """While a start job runs: the service's sub state and its STATUS line."""

    sub_state: str
    status_text: str
    done: bool = False
    result: str = ""


class PortTaken(RbeeError):
    """Somebody listens there already; another port may do. Never leaves the pool's logic."""

    code = "port_taken"


class UnitManager(Protocol):
    """systemd, as far as workers go. Implemented over D-Bus directly and through the broker."""

    async def create(self, plan: WorkerPlan) -> None:
        """Start the pair's socket. Raises Conflict when the name is taken, PortTaken when the port is."""

    def start(self, worker: str) -> AsyncIterator[StartProgress]:
        """Start the service now and watch it; the last item is ``done`` with the job's result."""

    async def stop(self, worker: str) -> None:
        """Stop and forget both units. Raises NotFound."""

    async def release(self, worker: str) -> None:
        """Stop the socket only: nothing wakes the worker again, and when it exits nothing is left. Raises NotFound."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever a worker has started or ended."""

    async def until_asleep(self, worker: str, within_s: float) -> None:
        """Return when the service has ended and the socket waits for the next request. Raises Timeout, NotFound."""

    async def until_gone(self, worker: str, within_s: float) -> None:
        """Return when nothing of the worker is left, so that its name is free. Raises Timeout."""

    async def list(self) -> tuple[UnitFacts, ...]: ...

    async def find(self, worker: str) -> UnitFacts | None: ...

    async def secret(self, worker: str) -> str:
        """Return the worker's bearer secret."""

    async def last_exit(self, worker: str) -> WorkerExit | None:
        """Return how its last process ended, from the journal."""

    async def logs(self, worker: str, lines: int) -> tuple[LogLine, ...]: ...

    async def hold(self, plan: HoldPlan) -> None:
        """Start the unit that holds a model and wait until it does. Raises Conflict when one does already."""

    async def release_model(self, model: str) -> None:
        """Stop the unit that holds ``model``. Raises NotFound."""

    async def held(self) -> tuple[HeldFacts, ...]: ...


class WorkerControl(Protocol):
    """The worker's own API, as far as its pool uses it."""

    async def drain(self, address: str, secret: str) -> None: ...

    async def sleep(self, address: str, secret: str) -> None:
        """Let it exit now. Raises Conflict when it has work."""


class GpuProbe(Protocol):
    async def inventory(self) -> GpuInventory: ...
    async def reopened(self) -> GpuInventory:
        """As ``inventory``, by a driver that was let go and opened anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What a process has of the host's memory. ``anon`` is its own, which nobody gets while it lives; in bytes."""

    anon: int
    peak: int


class HostProbe(Protocol):
    async def resources(self) -> HostResources: ...
    async def resident(self, pids: Collection[int]) -> Mapping[int, Resident]:
        """Return what each process has; those that are gone, or not for our eyes, are left out."""

    async def room_to_keep(self) -> int:
        """Return the bytes that workers may take where they keep conversations while they sleep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What workers of one kind were seen to take at most, and how long they took to load the last time."""

    device_bytes: int = 0
    host_bytes: int = 0
    load_ms: int | None = None


class LedgerBook(Protocol):
    """What was measured, and the lock that whoever promises memory has to hold. Outlives daemons."""

    async def known(self) -> Mapping[str, Measured]: ...
    async def note(self, seen: Mapping[str, Measured]) -> None: ...
    def exclusive(self) -> AbstractAsyncContextManager[None]: ...


class Turn(Protocol):
    """Whose turn it is to sync this pool: one task's of one process. Whoever comes second waits."""

    def exclusive(self) -> AbstractAsyncContextManager[None]: ...


class DrainFlag(Protocol):
    """Whether this pool refuses new work. Outlives the daemon, which shares it with direct commands."""

    def is_set(self) -> bool: ...
    def until_ms(self) -> int | None: ...
    def set(self, draining: bool, until_ms: int | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file elsewhere, at one version. ``sha256`` is empty when nobody knows it."""

    repo: str
    commit: str
    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a file from ``start`` on, as they come."""

    start: int
    pieces: AsyncIterator[bytes]


class Source(Protocol):
    """Where files come from: the hub, or another pool. ``name`` is what a sentence calls it."""

    name: str

    def read(self, file: RemoteFile, offset: int) -> AbstractAsyncContextManager[Body]:
        """Ask for ``file`` from ``offset`` on; the answer may be from the start. Raises DownloadFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model that another pool has, and where to read its files."""

    model: ModelFile
    files: tuple[RemoteFile, ...]
    source: Source


class Neighbours(Protocol):
    """The other pools of this fleet. Raises RbeeError where nobody says which there are."""

    async def offers(self, wanted: Callable[[ModelFile], bool]) -> Sequence[Offer]: ...


class Checkout(Protocol):
    """The git checkout of this host; every method may refuse with a sentence of its own."""

    async def status(self) -> GitStatus: ...
    async def submodules(self) -> tuple[GitSubmodule, ...]: ...
    async def pull(self) -> GitUpdate: ...
    async def sync(self, discard: bool) -> GitUpdate: ...


class ModelStore(Protocol):
    """Models on this host's disk."""

    async def list(self) -> tuple[ModelFile, ...]: ...
    async def catalog(self) -> tuple[ModelEntry, ...]: ...
    async def find(self, reference: str) -> ModelFile | None:
        """Return the file that an id, alias or reference names; None when it is not here."""

    async def absence(self, reference: str) -> RbeeError:
        """Return why ``find`` found nothing, and what can be done."""

    async def unfetchable(self, reference: str) -> RbeeError | None:
        """Return why no ``download`` can bring it; None where one may."""

    def download(self, reference: str) -> AsyncIterator[DownloadEvent]: ...
    async def import_file(self, path: str, model: str | None) -> ModelFile: ...
    async def verify(self, model: str) -> Verification: ...
    async def delete(self, model: str) -> None: ...
    async def parts(self, model: str) -> tuple[tuple[str, ModelPart], ...]:
        """Return the path and the description of each file of a model whose sums are known. Raises ModelNotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """Settings of a pool that its logic needs as plain values."""

    id: str
    instance: str
    url: str
    version: str
    worker_host: str
    ports: Sequence[int]
    ctx: int
    slots: int
    idle_s: int
    threads: int
    load_timeout_s: float
    gpu_limit_c: int = 0
    kv: str = "f16"
    keep: bool = False
    usual: Mapping[str, Usual] = field(default_factory=dict)
    """How workers of each model are made where nobody says, by the model's id."""

    def usual_of(self, model: str) -> Usual:
        """Return it for the model of that id."""
        return self.usual.get(model, NOTHING)

    program: str = ""
    """What a worker's unit runs now; empty where nobody compares."""
    limits: UnitLimits | None = None
    """What units are told now."""
