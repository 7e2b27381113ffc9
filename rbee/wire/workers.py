"""A worker: one process, one model, one pair of units."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rbee.wire.fields import name, number, plain, said, text


class Backend(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"
    ROCM = "rocm"
    VULKAN = "vulkan"
    METAL = "metal"


class Kv(StrEnum):
    """How a worker keeps keys and values: q8_0 takes little more than half, and costs a little exactness."""

    F16 = "f16"
    Q8_0 = "q8_0"


class WorkerState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    ASLEEP = "asleep"
    LOST = "lost"  # its pool is not heard from: what it does now nobody here knows


MOST_LAYERS = 1000
HIGHEST_PRIORITY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShape:
    """How a worker is to be, as [workers.<name>] of rbee.toml says it too.

    Absent numbers are filled in by the pool from its settings and the model.
    """

    backend: Backend
    model: str = text(
        longest=300, shortest=1, doc="alias or reference of a model this pool has; +adapter for each LoRA"
    )
    gpu: int | None = number(low=0, high=63, default=None)
    ctx: int | None = number(low=64, high=1 << 20, default=None, unit="tokens a slot")
    slots: int | None = number(low=1, high=64, default=None)
    kv: Kv | None = None
    gpu_layers: int | None = number(
        low=1,
        high=MOST_LAYERS,
        default=None,
        unit="layers",
        doc="so many on the GPU, the rest on the host; absent: all",
    )
    memory_bytes: int | None = number(low=16 << 20, high=1 << 45, default=None, unit="bytes")
    cpu_percent: int | None = number(low=1, high=100_000, default=None, unit="% of one core")
    idle_s: int | None = number(low=1, high=30 * 86_400, default=None, unit="s")
    lazy: bool = plain(False, doc="only the socket; the first request starts the service")
    pinned: bool = plain(False, doc="never evicted for another model")
    keep: bool | None = plain(None, doc="conversations outlive its sleep, on disk; absent: as the pool is set")
    priority: int | None = number(
        low=-HIGHEST_PRIORITY,
        high=HIGHEST_PRIORITY,
        default=None,
        sparse=True,
        doc="of idle workers the lower goes first when memory is wanted; absent: the model's, else 0",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec(WorkerShape):
    """What to start."""

    id: str | None = name(default=None, doc="absent: worker-<backend>-<n>")
    spare: bool = plain(False, doc="for a deep queue; goes when it falls asleep")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExit:
    """How its last process ended. ``result`` is systemd's word: oom-kill, watchdog, exit-code, signal, timeout, …"""

    result: str
    code: str = ""
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    oom: bool = False
    at_ms: int = 0
    log: tuple[str, ...] = plain((), doc="the last lines of its journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What is known of a worker; all of it can be asked of systemd again."""

    id: str
    state: WorkerState
    model: str
    backend: Backend
    address: str = plain(doc="host:port it listens on")
    unit: str = ""
    gpu: int | None = None
    ctx: int = 0
    slots: int = 1
    idle_s: int = 0
    memory_limit_bytes: int | None = None
    memory_current_bytes: int | None = None
    restarts: int = 0
    since_ms: int | None = None
    pid: int | None = None
    progress: float | None = plain(None, doc="0..1 while loading")
    status: str = plain("", doc="its own STATUS line")
    pool: str | None = plain(None, doc="set by the queen")
    gpus: tuple[int, ...] = plain((), doc="all of them, where one did not suffice")
    split: tuple[int, ...] = plain((), doc="how many percent of its need each of those takes")
    pinned: bool = False
    spare: bool = False
    declared: bool = plain(False, doc="made because [workers.<name>] of rbee.toml says so")
    keep: bool = plain(False, doc="its conversations lie on disk while it sleeps")
    priority: int = plain(0, doc="of idle workers the lower goes first when memory is wanted")
    kv: Kv = Kv.F16
    gpu_layers: int | None = plain(None, doc="how many are on its GPUs; null: all, or it has none")
    need_bytes: int = plain(0, unit="bytes", doc="of its device, while it runs")
    device_bytes: int | None = plain(None, unit="bytes", doc="of its GPUs, as the driver says; null where it does not")
    load_ms: int | None = plain(None, unit="ms", doc="how long its last start took")
    last_exit: WorkerExit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnEvent:
    """POST /v2/workers as a stream: ``progress`` events, then one ``ready`` with the worker, or ``error``."""

    state: str
    progress: float | None = None
    message: str = ""
    worker: WorkerStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDecision:
    """``decision`` is spawn, evict or retire; ``job`` the one it was for, empty where none was."""

    at_ms: int
    decision: str
    why: str
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExplanation:
    """Why a worker is there, and what would become of it if its memory were wanted; or why it is there no more."""

    id: str = plain(doc="pool:worker")
    pool: str
    worker: str
    model: str = plain(doc="empty once the worker is gone")
    state: WorkerState
    jobs: int = plain(0, doc="of this queen's, that it has now")
    idle_ms: int | None = plain(None, unit="ms", doc="since its last job; null: none is remembered")
    need_bytes: int = 0
    sentence: str = ""
    decisions: tuple[WorkerDecision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    at_ms: int
    priority: int
    message: str = said()
    fields: Mapping[str, Any] = plain({}, doc="the event's own fields: JOB, MODEL, …")
