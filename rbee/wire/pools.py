"""A pool is one host: its GPUs, memory, models and workers; its snapshot is the heartbeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rbee.wire.catalog import ModelFile
from rbee.wire.fields import items, name, number, plain, text
from rbee.wire.workers import Backend, WorkerStatus


class PoolState(StrEnum):
    READY = "ready"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    index: int
    name: str
    uuid: str = ""
    memory_total_bytes: int = 0
    memory_used_bytes: int = 0
    memory_free_bytes: int = 0
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    pci: str = ""
    compute_capability: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuInventory:
    """``reason`` says why the list is empty: no driver library, no device, permission."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResources:
    cpus: int
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int = plain(unit="bytes", doc="where the models lie")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """All a pool knows, whole and idempotent: one that is lost costs nothing."""

    id: str = name()
    instance: str = text(longest=64, shortest=8, doc="says which host claims this id; survives reboots")
    url: str = text(longest=300, shortest=8, doc="where the queen reaches this pool")
    version: str = text(longest=40)
    at_ms: int = number(low=0, high=1 << 53)
    draining: bool = False
    backends: tuple[Backend, ...] = (Backend.CPU,)
    gpus: GpuInventory = GpuInventory()
    host: HostResources
    workers: tuple[WorkerStatus, ...] = items(longest=1000, default=())
    models: tuple[ModelFile, ...] = items(longest=1000, default=())
    worker_secrets: Mapping[str, str] = plain({}, doc="worker id → bearer secret; only to the queen")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """A pool as the queen sees it."""

    id: str
    state: PoolState
    url: str
    version: str = ""
    last_heartbeat_ms: int | None = plain(None, unit="ms", doc="ago; null before the first")
    backends: tuple[Backend, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    host: HostResources | None = None
    workers: tuple[WorkerStatus, ...] = ()
    models: tuple[str, ...] = ()


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
