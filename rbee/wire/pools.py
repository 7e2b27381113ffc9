"""A pool is one host: its GPUs, memory, models and workers; its snapshot is the heartbeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rbee.wire.catalog import ModelFile
from rbee.wire.draining import DrainReason
from rbee.wire.fields import items, name, number, plain, text
from rbee.wire.workers import Backend, Kv, WorkerStatus


class PoolState(StrEnum):
    READY = "ready"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """Who uses a GPU. ``worker`` is set for ours; ``memory_bytes`` is null where the driver does not tell."""

    pid: int
    name: str = ""
    memory_bytes: int | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """``index`` is the driver's, and unique among those of one vendor; MIG instances follow after the last GPU."""

    index: int
    name: str
    vendor: str = plain("nvidia", doc="nvidia or amd")
    uuid: str = ""
    memory_total_bytes: int = 0
    memory_used_bytes: int = 0
    memory_free_bytes: int = 0
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    pci: str = ""
    compute_capability: str = ""
    ecc_errors: int | None = plain(None, doc="uncorrected since the driver was loaded; null: it does not count them")
    xid: int | None = plain(None, doc="the last critical error the driver told of since this process watches")
    mig: bool = plain(False, doc="it is divided into instances, or is one")
    parent: int | None = plain(None, doc="index of the GPU this is an instance of")
    hot: bool = plain(False, doc="hotter than [pool] gpu_limit_c")
    problem: str = plain("", doc="why nothing new can run on it")
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A backend, and whether workers here can use it: llama.cpp carries its library, and there is a device for it."""

    name: str = plain(doc="cpu, cuda, rocm, vulkan or rpc")
    carried: bool = plain(doc="this install of llama.cpp was built with it")
    problem: str = plain("", doc="why no worker can use it here; empty of one that can")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuInventory:
    """``reason`` says why the list is empty: no driver library, no device, permission."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    reason: str = ""
    builds: tuple[Build, ...] = plain((), doc="what llama.cpp on this host was built with")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResources:
    cpus: int
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int = plain(unit="bytes", doc="where the models lie")


VENDORS = {"nvidia": (Backend.CUDA, Backend.VULKAN), "amd": (Backend.ROCM, Backend.VULKAN)}
"""Which workers run on whose GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A line of the ledger: memory on one device, and what of it a new worker may have.

    ``free_bytes`` is the total less what strangers use and less what our workers use or will use, whichever is more.
    """

    backends: tuple[Backend, ...] = plain(doc="which workers run there")
    gpu: int | None = plain(None, doc="absent: the host's memory")
    vendor: str = plain("", doc="the GPU's, among whose its index is unique")
    total_bytes: int = plain(unit="bytes")
    free_bytes: int = plain(unit="bytes")
    reserved_bytes: int = plain(0, unit="bytes", doc="our workers'")
    foreign_bytes: int = plain(0, unit="bytes", doc="everybody else's")
    problem: str = plain("", doc="why nothing can be put there")
    hot: bool = plain(False, doc="that it is too hot, which will pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a worker of ``model`` takes of a device, with the slots and the context that it gets there by itself.

    Where a pool tells of a model on some backends, it is not for the others.
    """

    model: str
    backend: Backend
    bytes: int = plain(unit="bytes")
    ctx: int = plain(unit="tokens a slot")
    slots: int = 1
    kv: Kv = Kv.F16
    gpu: int | None = plain(None, doc="its workers go to this one and no other; null: to any")
    measured: bool = plain(False, doc="seen before with this file; else predicted from its header")
    load_ms: int | None = plain(None, unit="ms", doc="how long it took to load; null: never seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """All a pool knows, whole and idempotent: one that is lost costs nothing."""

    id: str = name()
    instance: str = text(longest=64, shortest=8, doc="says which host claims this id; survives reboots")
    url: str = text(longest=300, shortest=8, doc="where the queen reaches this pool")
    version: str = text(longest=40)
    at_ms: int = number(low=0, high=1 << 53)
    draining: bool = False
    drain_until_ms: int | None = plain(None, doc="on this pool's clock; from then on its jobs are to go on elsewhere")
    drain_reason: DrainReason | None = None
    backends: tuple[Backend, ...] = (Backend.CPU,)
    gpus: GpuInventory = GpuInventory()
    host: HostResources
    workers: tuple[WorkerStatus, ...] = items(longest=1000, default=())
    models: tuple[ModelFile, ...] = items(longest=1000, default=())
    devices: tuple[Device, ...] = items(longest=100, default=())
    needs: tuple[Need, ...] = items(longest=1000, default=())
    worker_secrets: Mapping[str, str] = plain({}, doc="worker id → bearer secret; only to the queen")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSpec:
    """POST …/drain."""

    deadline_s: float | None = number(
        low=0, high=86_400, default=None, unit="s", doc="what still runs then goes on at other pools, where it can"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """A pool as the queen sees it."""

    id: str
    state: PoolState
    url: str
    version: str = ""
    last_heartbeat_ms: int | None = plain(None, unit="ms", doc="ago; null before the first")
    drain_reason: DrainReason | None = None
    drain_until_ms: int | None = plain(None, doc="on the pool's clock; from then on its jobs go on elsewhere")
    why: str = plain("", doc="drain_reason as a clause; empty of one that takes work, or was lost without a word")
    backends: tuple[Backend, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    host: HostResources | None = None
    workers: tuple[WorkerStatus, ...] = ()
    models: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRegistration:
    """POST /v2/pools/{id}/register."""

    instance: str = text(longest=64, shortest=8)
    url: str = text(longest=300, shortest=8)
    version: str = text(longest=40, default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """GET /v2/meta/version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """GET /v2/meta/capabilities."""

    version: str
    api: tuple[str, ...] = ("v1", "v2")
    backends: tuple[Backend, ...] = ()
    models: tuple[str, ...] = ()
    limits: Mapping[str, int] = plain({})
