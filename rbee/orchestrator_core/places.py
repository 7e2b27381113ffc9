"""Where a new worker could go: a pool that has the file, a device, and memory for it.

The pool itself has the last word on what fits; here is what its last snapshot said, less what was begun since.
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
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.view import Place, View, gpus_of, is_open
from rbee.wire.catalog import ModelFile
from rbee.wire.jobs import JobSpec
from rbee.wire.pools import Device, Need, PoolState
from rbee.wire.words import bytes_text
from rbee.wire.workers import Backend, WorkerSpec

PREFERENCE = (Backend.CUDA, Backend.ROCM, Backend.METAL, Backend.VULKAN, Backend.CPU)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place with its memory in bytes; ``file`` is what its pool calls the model.

    Args:
        taken: a worker of this model is there already; a second one would only share the device with it.
    """

    place: Place
    file: str
    need: int
    free: int
    total: int
    load_ms: int | None = None
    taken: bool = False

    @property
    def fits(self) -> bool:
        return self.free >= self.need and not self.taken

    @property
    def lacking(self) -> int:
        return max(0, self.need - self.free)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All rooms there are; or what to wait for (``patience``); or what is wrong. ``absent``: a pool is not here."""

    rooms: Sequence[Room] = ()
    patience: str = ""
    absent: bool = False
    error: RbeeError | None = None


def search(job: JobSpec, view: View) -> Found:
    """Look for places for a new worker that could run ``job``."""
    pools = _in_question(job, view)
    if not pools and job.placement.pool is not None and len(view.fleet):
        return Found(error=_no_such_pool(job.placement.pool, view.fleet.pools))
    having = [
        (pool, file)
        for pool, file in view.fleet.files(view.fleet.names.canonical(job.model))
        if job.placement.pool in (None, pool.id)
    ]
    rooms = [room for pool, file in having if is_open(pool, job.placement) for room in _rooms(job, pool, file, view)]
    return Found(rooms=rooms) if rooms else _nothing(job, pools, having, view)


def too_full(job: JobSpec, rooms: Sequence[Room]) -> Found:
    """Say what ``rooms`` lack: what to wait for, or that no waiting will help."""
    rooms = [room for room in rooms if not room.taken] or rooms
    room = max(rooms, key=lambda room: (room.total, room.free))
    cpu = room.place.backend is Backend.CPU
    kind = "memory" if cpu else "GPU memory"
    where = room.place.pool if room.place.gpu is None else f"gpu {room.place.gpu} of {room.place.pool}"
    needs = f"{job.model} needs {bytes_text(room.need)} of {kind}"
    if room.total >= room.need:
        return Found(patience=f"{needs}, {where} has {bytes_text(room.free)} free")
    error = InsufficientMemory if cpu else InsufficientVram
    look = "rbee pool state" if cpu else "rbee pool gpu status"
    return Found(
        error=error(
            f"{needs}, the most there is, on {where}, is {bytes_text(room.total)}",
            hint=f"{look} --host {room.place.pool}; or choose a smaller or more quantized model",
            details={"needed_bytes": room.need, "free_bytes": room.free, "total_bytes": room.total},
        )
    )


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


def _in_question(job: JobSpec, view: View) -> Sequence[PoolView]:
    if job.placement.pool is None:
        return view.fleet.pools
    found = view.fleet.find(job.placement.pool)
    return [] if found is None else [found]


def _nothing(
    job: JobSpec, pools: Sequence[PoolView], having: Sequence[tuple[PoolView, ModelFile]], view: View
) -> Found:
    """Say why there is no room at all."""
    live = [pool for pool in pools if pool.state is not PoolState.LOST and pool.snapshot is not None]
    if not live:
        return Found(patience=_nobody_home(pools), absent=True)
    if job.placement.backend is not None and not _offered(job.placement.backend, live):
        return Found(error=_no_backend(job.placement.backend, live))
    if not having:
        return Found(error=_no_model(job.model, live, view.fleet.names))
    if not any(is_open(pool, job.placement) for pool, _ in having):
        pool = having[0][0]
        lost = pool.state is PoolState.LOST
        return Found(patience=f"pool {pool.id}, which has {job.model}, is {pool.state}", absent=lost)
    hot = _too_hot(job, having, view)
    if hot:
        return Found(patience=hot)
    where = f"gpu {job.placement.gpu}" if job.placement.gpu is not None else "a device"
    return Found(error=NoCapacity(f"no pool that has {job.model} offers {where} for it", hint="rbee-keeper pool list"))


def _too_hot(job: JobSpec, having: Sequence[tuple[PoolView, ModelFile]], view: View) -> str:
    """Say which GPU could take the job once it has cooled down; empty when there is none."""
    for pool, _ in having:
        for device in view.fleet.devices(pool.id) if is_open(pool, job.placement) else ():
            named = job.placement.gpu in (None, device.gpu)
            able = any(job.placement.backend in (None, backend.value) for backend in device.backends)
            if device.hot and named and able:
                return f"gpu {device.gpu} of {pool.id}: {device.problem}"
    return ""


def _rooms(job: JobSpec, pool: PoolView, file: ModelFile, view: View) -> Iterator[Room]:
    """Yield the devices of ``pool`` that ``job`` may go to, and all of a kind together where one is too small."""
    for backend in pool.snapshot.backends if pool.snapshot else ():
        if job.placement.backend not in (None, backend.value):
            continue
        need = view.fleet.need(pool.id, file, backend)
        devices = [device for device in view.fleet.devices(pool.id) if backend in device.backends]
        alone = [
            _room(pool, file, need, [device], view)
            for device in devices
            if not device.problem and job.placement.gpu in (None, device.gpu)
        ]
        yield from alone
        if job.placement.gpu is None and len(alone) > 1 and all(room.total < room.need for room in alone):
            yield _room(pool, file, need, [device for device in devices if not device.problem], view)


def _room(pool: PoolView, file: ModelFile, need: Need, devices: Sequence[Device], view: View) -> Room:
    model = view.fleet.names.canonical(file.id)
    gpus = {device.gpu for device in devices}
    place = Place(pool.id, model, need.backend, devices[0].gpu if len(devices) == 1 else None)
    return Room(
        place=place,
        file=file.id,
        need=need.bytes,
        free=sum(max(0, device.free_bytes - view.promised[pool.id, device.gpu]) for device in devices),
        total=sum(device.total_bytes for device in devices),
        load_ms=need.load_ms,
        taken=_is_taken(place, gpus, view),
    )


def _is_taken(place: Place, gpus: set[int | None], view: View) -> bool:
    return any(
        worker.backend is place.backend and not gpus.isdisjoint(gpus_of(worker))
        for worker in view.fleet.workers_at(place.pool, place.model)
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
