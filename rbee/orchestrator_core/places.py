"""Where a new worker could go: a pool that has the file, a device, and memory for it.

The pool itself has the last word on what fits; here is what its last snapshot said, less what was begun since.
"""

import dataclasses
from collections.abc import Sequence
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
from rbee.orchestrator_core.devices import key_of
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.rooms import Room
from rbee.orchestrator_core.view import View, is_open
from rbee.wire.catalog import ModelFile
from rbee.wire.jobs import JobSpec
from rbee.wire.mixes import PLUS, is_mix
from rbee.wire.pools import PoolState
from rbee.wire.words import bytes_text
from rbee.wire.workers import Backend, WorkerSpec

PREFERENCE = (Backend.CUDA, Backend.ROCM, Backend.METAL, Backend.VULKAN, Backend.CPU)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All rooms there are; or what to wait for (``patience``); or what is wrong. ``absent``: a pool is not here."""

    rooms: Sequence[Room] = ()
    patience: str = ""
    absent: bool = False
    error: RbeeError | None = None


def search(job: JobSpec, view: View) -> Found:
    """Look for places for a new worker that could run ``job``."""
    wanted = job.placement
    if wanted.pool is not None and len(view.fleet) and view.fleet.find(wanted.pool) is None:
        return Found(error=_no_such_pool(wanted.pool, view.fleet.pools))
    having = [
        (pool, file)
        for pool, file in view.fleet.files(view.fleet.names.canonical(job.model))
        if wanted.pool in (None, pool.id)
    ]
    rooms = [room for pool, file in having if is_open(pool, wanted) for room in _rooms(pool, file, view)]
    if wanted.backend is not None:
        rooms = [room for room in rooms if room.place.backend.value == wanted.backend]
    if wanted.gpu is not None:
        rooms = [room for room in rooms if room.place.gpu == wanted.gpu]
    return Found(rooms=rooms) if rooms else _nothing(job, having, view)


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


def _rooms(pool: PoolView, file: ModelFile, view: View) -> Sequence[Room]:
    """Return what a pool offered when it last spoke, less what was begun there since."""
    offered = view.fleet.rooms(pool.id, file)
    return [_less(room, view) for room in offered] if pool.id in view.promising else offered


def _less(room: Room, view: View) -> Room:
    pool, promised = room.place.pool, view.promised
    free = sum(max(0, device.free_bytes - promised.get((pool, key_of(device)), 0)) for device in room.devices)
    return dataclasses.replace(room, free=free)


def _nothing(job: JobSpec, having: Sequence[tuple[PoolView, ModelFile]], view: View) -> Found:
    """Say why there is no room at all."""
    pools = _in_question(job, view)
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
        return Found(patience=f"pool {pool.id}, which has {job.model}, is {pool.condition}", absent=lost)
    hot = _too_hot(job, having, view)
    if hot:
        return Found(patience=hot)
    where = f"gpu {job.placement.gpu}" if job.placement.gpu is not None else job.placement.backend or "a device"
    message, hint = f"no pool that has {job.model} offers {where} for it", "rbee-keeper pool list"
    told = [(pool, file, why) for pool, file in having if (why := _meant_for(pool, file, view))]
    if told:
        pool, file, _ = told[0]
        message = f"{message}: {'; '.join(why for *_, why in told)}"
        hint = f"see [models.{file.id}] in rbee.toml of {pool.id}"
    return Found(error=NoCapacity(message, hint=hint))


def _meant_for(pool: PoolView, file: ModelFile, view: View) -> str:
    """Say where alone a pool wants the model, if it does."""
    told = [view.fleet.need(pool.id, file, backend) for backend in view.fleet.wanted_backends(pool.id, file)]
    offered = pool.snapshot.backends if pool.snapshot else ()
    if len(told) != 1 or (told[0].gpu is None and list(offered) == [told[0].backend]):
        return ""
    gpu = "" if told[0].gpu is None else f", gpu {told[0].gpu}"
    lacks = "" if told[0].backend in offered else ", which is not there"
    return f"{pool.id} has it for {told[0].backend}{gpu} alone{lacks}"


def _too_hot(job: JobSpec, having: Sequence[tuple[PoolView, ModelFile]], view: View) -> str:
    """Say which GPU could take the job once it has cooled down; empty when there is none."""
    for pool, _ in having:
        for device in view.fleet.devices(pool.id) if is_open(pool, job.placement) else ():
            named = job.placement.gpu in (None, device.gpu)
            able = any(job.placement.backend in (None, backend.value) for backend in device.backends)
            if device.hot and named and able:
                return f"gpu {device.gpu} of {pool.id}: {device.problem}"
    return ""


def _offered(backend: str, live: Sequence[PoolView]) -> bool:
    return backend in {offered.value for pool in live if pool.snapshot for offered in pool.snapshot.backends}


def _nobody_home(pools: Sequence[PoolView]) -> str:
    if not pools:
        return "no pool is connected"
    return f"no pool is connected; lost: {', '.join(map(_lost, pools))}"


def _lost(pool: PoolView) -> str:
    return f"{pool.id} ({pool.why})" if pool.why else pool.id


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
    return _no_mix(model, live, names) if is_mix(model) else _no_file(model, live, names)


def _no_mix(model: str, live: Sequence[PoolView], names: Names) -> ModelNotFound:
    """Say which part of a model with adapters nobody has; else that nobody has all of them."""
    base, *adapters = model.split(PLUS)
    if not any(_has(pool, base, names) for pool in live):
        return _no_file(base, live, names)
    for adapter in adapters:
        if not any(_has(pool, adapter, names) for pool in live):
            return ModelNotFound(
                f"no pool has the adapter {adapter}",
                hint=f"rbee-hive models download {names.canonical(adapter)}, or models import, where {base} is",
                details={"model": model, "adapter": adapter},
            )
    where = {part: [pool.id for pool in live if _has(pool, part, names)] for part in (base, *adapters)}
    told = ", ".join(f"{part} is at {' and '.join(pools)}" for part, pools in where.items())
    return ModelNotFound(
        f"no pool has all of {model}: {told}",
        hint=f"rbee pool models download {adapters[0]} --host {where[base][0]}",
        details={"model": model, "pools": where},
    )


def _has(pool: PoolView, name: str, names: Names) -> bool:
    return pool.snapshot is not None and names.file_of(name, pool.snapshot.models) is not None


def _no_file(model: str, live: Sequence[PoolView], names: Names) -> ModelNotFound:
    there = sorted({file.id for pool in live if pool.snapshot for file in pool.snapshot.models})
    if model.startswith("hf:") and not names.known(model):
        return _no_file_of_hub(model, live)
    if names.known(model):
        message, hint = f"no pool has the model {model} yet", f"rbee-hive models download {names.canonical(model)}"
    else:
        message, hint = f"no pool has a model {model}, and the catalog does not know it", "rbee-hive models catalog"
    return ModelNotFound(message, hint=hint, details={"model": model, "available": there})


def _no_file_of_hub(model: str, live: Sequence[PoolView]) -> ModelNotFound:
    """Say what pools have of the same repository; a name that ends in how weights are quantised is no reference."""
    repository = ":".join(model.split(":")[:2]).partition("@")[0]
    files = {file.id: file.reference for pool in live if pool.snapshot for file in pool.snapshot.models}
    there = sorted(each for each, found in files.items() if found.startswith((f"{repository}:", f"{repository}@")))
    wanted = model if "::" in model else repository
    return ModelNotFound(
        f"no pool has the model {model}" + (f", but of its repository {', '.join(there)}" if there else ""),
        hint=f"rbee-hive models download {wanted}",
        details={"model": model, "available": sorted(files)},
    )
