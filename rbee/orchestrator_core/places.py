"""Where a new worker could go: a pool that has the file, a device, and memory for it.

Full accounting of VRAM and eviction is not here; the pool itself has the last word on what fits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbee.errors import (
    BackendUnavailable,
    InsufficientMemory,
    InsufficientVram,
    ModelNotFound,
    NoCapacity,
    NotFound,
    RbeeError,
)
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.registry import PoolView
from rbee.wire.catalog import ModelFile
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.pools import PoolSnapshot, PoolState
from rbee.wire.workers import Backend, WorkerSpec, WorkerState

HEADROOM = 1.2
"""A model takes about this many times its file's size once it runs."""

_PREFERENCE = (Backend.CUDA, Backend.ROCM, Backend.METAL, Backend.VULKAN, Backend.CPU)
_GONE = frozenset({WorkerState.STOPPED, WorkerState.FAILED, WorkerState.DRAINING})


@dataclass(frozen=True, slots=True)
class Place:
    """One device of one pool. ``model`` is in its canonical spelling."""

    pool: str
    model: str
    backend: Backend
    gpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place with its memory in bytes; ``file`` is what its pool calls the model."""

    place: Place
    file: str
    need: int
    free: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best room; or what to wait for (``patience``); or what is wrong. ``absent``: a pool is not here."""

    best: Room | None = None
    patience: str = ""
    absent: bool = False
    error: RbeeError | None = None


def search(job: JobSpec, pools: Sequence[PoolView], names: Names) -> Found:
    """Look for a place for a new worker that could run ``job``."""
    in_question = [pool for pool in pools if job.placement.pool in (None, pool.id)]
    if not in_question and job.placement.pool is not None and pools:
        return Found(error=_no_such_pool(job.placement.pool, pools))
    live = [pool for pool in in_question if pool.state is not PoolState.LOST and pool.snapshot is not None]
    if not live:
        return Found(patience=_nobody_home(in_question), absent=True)
    if job.placement.backend is not None and not _offered(job.placement.backend, live):
        return Found(error=_no_backend(job.placement.backend, live))
    return _among(job, in_question, live, names)


def is_open(pool: PoolView, wanted: Placement) -> bool:
    """Say whether a job placed so may go to ``pool``: it is ready, or is tried while it drains."""
    if wanted.pool not in (None, pool.id):
        return False
    return pool.state is PoolState.READY or (wanted.draining and pool.state is PoolState.DRAINING)


def pool_for(spec: WorkerSpec, pools: Sequence[PoolView], names: Names) -> str:
    """Return the pool where a worker that somebody asks for by hand should go: has the file, most memory free.

    Raises:
        RbeeError: there is no such pool; the error says what is missing.
    """
    live = [pool for pool in pools if pool.state is PoolState.READY and pool.snapshot is not None]
    if not live:
        raise NoCapacity(_nobody_home(pools), hint="rbee-keeper pool list")
    if not _offered(spec.backend.value, live):
        raise _no_backend(spec.backend.value, live)
    able = [pool for pool in live if pool.snapshot and spec.backend in pool.snapshot.backends]
    having = [pool for pool in able if pool.snapshot and names.file_of(spec.model, pool.snapshot.models)]
    if not having:
        raise _no_model(spec.model, live, names)
    return max(having, key=lambda pool: pool.snapshot.host.memory_available_bytes if pool.snapshot else 0).id


def _among(job: JobSpec, pools: Sequence[PoolView], live: Sequence[PoolView], names: Names) -> Found:
    having = [(pool, file) for pool in pools if (file := _file(job, pool, names)) is not None]
    ready = [(pool, file) for pool, file in having if is_open(pool, job.placement)]
    if not having:
        return Found(error=_no_model(job.model, live, names))
    if not ready:
        pool = having[0][0]
        return Found(
            patience=f"pool {pool.id}, which has {job.model}, is {pool.state}", absent=pool.state is PoolState.LOST
        )
    rooms = [room for pool, file in ready for room in _rooms(job, pool, file, names)]
    fitting = [room for room in rooms if room.free >= room.need]
    if fitting:
        best = min(fitting, key=lambda room: (_PREFERENCE.index(room.place.backend), -room.free, room.place.pool))
        return Found(best=best)
    return _too_full(job, rooms)


def _file(job: JobSpec, pool: PoolView, names: Names) -> ModelFile | None:
    return names.file_of(job.model, pool.snapshot.models) if pool.snapshot else None


def _rooms(job: JobSpec, pool: PoolView, file: ModelFile, names: Names) -> Iterator[Room]:
    """Yield the devices of ``pool`` that have no worker of this model yet: a second one there would only share them."""
    snapshot = pool.snapshot
    if snapshot is None:
        return
    model = names.canonical(job.model)
    taken = {(w.backend, w.gpu) for w in snapshot.workers if w.state not in _GONE and names.same(w.model, model)}
    need = int(file.size_bytes * HEADROOM)
    for backend in snapshot.backends:
        if job.placement.backend not in (None, backend.value):
            continue
        for gpu, free, total in _devices(backend, snapshot):
            if job.placement.gpu in (None, gpu) and (backend, gpu) not in taken:
                place = Place(pool.id, model, backend, gpu)
                yield Room(place=place, file=file.id, need=need, free=free, total=total)


def _devices(backend: Backend, snapshot: PoolSnapshot) -> Iterator[tuple[int | None, int, int]]:
    """Yield each device of ``backend``: GPU index (None is the CPU), free and total bytes."""
    if backend is Backend.CPU:
        yield None, snapshot.host.memory_available_bytes, snapshot.host.memory_total_bytes
        return
    for gpu in snapshot.gpus.gpus:
        yield gpu.index, gpu.memory_free_bytes, gpu.memory_total_bytes


def _too_full(job: JobSpec, rooms: Sequence[Room]) -> Found:
    if not rooms:
        where = f"gpu {job.placement.gpu}" if job.placement.gpu is not None else "a device"
        return Found(
            error=NoCapacity(f"no pool that has {job.model} offers {where} for it", hint="rbee-keeper pool list")
        )
    room = max(rooms, key=lambda room: (room.total, room.free))
    kind = "memory" if room.place.backend is Backend.CPU else "GPU memory"
    if room.total >= room.need:
        return Found(patience=f"{job.model} needs {room.need} bytes of {kind}, {room.place.pool} has {room.free} free")
    error = InsufficientMemory if room.place.backend is Backend.CPU else InsufficientVram
    return Found(
        error=error(
            f"{job.model} needs {room.need} bytes of {kind}, the most there is, on {room.place.pool}, is {room.total}",
            hint="choose a smaller or more quantized model",
            details={"needed_bytes": room.need, "free_bytes": room.free, "total_bytes": room.total},
        )
    )


def _offered(backend: str, live: Sequence[PoolView]) -> bool:
    return backend in {offered.value for pool in live if pool.snapshot for offered in pool.snapshot.backends}


def _nobody_home(pools: Sequence[PoolView]) -> str:
    if not pools:
        return "no pool is connected"
    return f"no pool is connected; lost: {', '.join(pool.id for pool in pools)}"


def _no_such_pool(pool: str, pools: Sequence[PoolView]) -> NotFound:
    known = [known.id for known in pools]
    return NotFound(
        f"no pool {pool}; there are {', '.join(known)}", hint="rbee-keeper pool list", details={"pools": known}
    )


def _no_backend(backend: str, live: Sequence[PoolView]) -> BackendUnavailable:
    there = sorted({offered.value for pool in live if pool.snapshot for offered in pool.snapshot.backends})
    return BackendUnavailable(
        f"no pool offers the backend {backend}; there are {', '.join(there)}",
        hint="rbee-keeper pool gpu status",
        details={"available": there},
    )


def _no_model(model: str, live: Sequence[PoolView], names: Names) -> ModelNotFound:
    there = sorted({file.id for pool in live if pool.snapshot for file in pool.snapshot.models})
    if names.known(model):
        message, hint = f"no pool has the model {model} yet", f"rbee-hive models download {names.canonical(model)}"
    else:
        message, hint = f"no pool has a model {model}, and the catalog does not know it", "rbee-hive models catalog"
    return ModelNotFound(message, hint=hint, details={"model": model, "available": there})
