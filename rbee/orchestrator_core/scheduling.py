"""Where does this job run? A pure answer; the dispatcher performs it.

In order: a ready worker with a free slot; one that is asleep and still fits (connecting wakes it); one that is
starting; a new one where the model lies and fits; one for which others have to go; else patience, or a refusal where
patience would not help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rbee.errors import NoCapacity, RbeeError
from rbee.orchestrator_core import eviction, places
from rbee.orchestrator_core.eviction import USUAL_LOAD_MS, Victim
from rbee.orchestrator_core.places import Found, Room
from rbee.orchestrator_core.strategies import Seat, choose_room, choose_seat
from rbee.orchestrator_core.view import Key, Place, View, gpus_of, is_open, share
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.words import bytes_text
from rbee.wire.workers import WorkerSpec, WorkerState, WorkerStatus

WARM_BYTES = 512
"""A shorter common beginning is read again sooner than it is worth waiting or crowding for."""


@dataclass(frozen=True, slots=True)
class Run:
    """``wakes`` says that the worker is asleep; ``warm_bytes`` how much of the prompt it has read before."""

    pool: str
    worker: str
    wakes: bool = False
    warm_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Spawn:
    """One spawn answers all who ask for an equal place. ``need`` is in bytes."""

    place: Place
    spec: WorkerSpec
    need: int = 0


@dataclass(frozen=True, slots=True)
class Evict:
    """Have ``victims`` go, so that a worker of the job's model fits at ``place``."""

    place: Place
    victims: tuple[Victim, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """``absent`` says that a pool that is not here might help; ``until_s`` when to look again at the latest."""

    reason: str
    absent: bool = False
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    error: RbeeError


Decision: TypeAlias = Run | Spawn | Evict | Wait | Refuse


def decide(job: JobSpec, view: View, *, warm: Mapping[Key, int] | None = None, context_tokens: int = 0) -> Decision:
    """Choose what to do with ``job`` now.

    Args:
        warm: how many bytes of the prompt's beginning each worker has read before.
        context_tokens: how many it has at least; a worker with less context is none for it.
    """
    there = seats_of(job, view, warm or {})
    seats = [seat for seat in there if holds(seat.worker, context_tokens)]
    awake = [seat for seat in seats if seat.free > 0 and seat.worker.state in (WorkerState.READY, WorkerState.BUSY)]
    if awake:
        return _run(choose_seat(awake, view))
    asleep = [seat for seat in seats if seat.free > 0 and seat.worker.state is WorkerState.ASLEEP]
    waking = [seat for seat in asleep if fits(seat, view)]
    if waking:
        return _run(choose_seat(waking, view), wakes=True)
    starting = next((seat for seat in seats if seat.worker.state is WorkerState.STARTING), None)
    if starting is not None:
        return Wait(f"worker {starting.worker.id} on {starting.pool} is starting")
    decision = _with_more(job, view, seats, asleep)
    if there and not seats and isinstance(decision, Wait):
        return Wait(f"no worker of {job.model} has a context of more than {context_tokens} tokens; {decision.reason}")
    return decision


def seats_of(job: JobSpec, view: View, warm: Mapping[Key, int]) -> list[Seat]:
    """Return the workers that could run ``job``, busy ones included."""
    found = []
    for pool, worker in view.fleet.workers(view.fleet.names.canonical(job.model)):
        key = (pool.id, worker.id)
        if is_open(pool, job.placement) and _matches(worker, job.placement) and key not in view.leaving:
            known = warm.get(key, 0)
            free = worker.slots - view.in_flight.get(key, 0)
            found.append(
                Seat(pool=pool.id, worker=worker, free=free, warm_bytes=known if known >= WARM_BYTES else 0)
            )  # fmt: skip
    return found


def fits(seat: Seat, view: View) -> bool:
    """Say whether a worker that is asleep would find its memory free; one that others wake already has it promised."""
    if view.in_flight.get((seat.pool, seat.worker.id), 0) > 0:
        return True
    free = {device.gpu: device.free_bytes for device in view.fleet.devices(seat.pool)}
    left = {gpu: free[gpu] - view.promised[seat.pool, gpu] for gpu in gpus_of(seat.worker) if gpu in free}
    return all(bytes_left >= share(seat.worker, gpu) for gpu, bytes_left in left.items())


def _run(seat: Seat, *, wakes: bool = False) -> Run:
    return Run(seat.pool, seat.worker.id, wakes, seat.warm_bytes)


def _with_more(job: JobSpec, view: View, seats: Sequence[Seat], asleep: Sequence[Seat]) -> Decision:
    """Nobody has a free slot now: make room, wait, or refuse."""
    serving = [seat for seat in seats if seat.worker.state is not WorkerState.ASLEEP]
    busy = f"all {sum(seat.worker.slots for seat in serving)} slots for {job.model} are busy"
    if serving and not _more_wait_than(serving, job, view):
        return Wait(busy)
    found = places.search(job, view)
    begun = [room for room in found.rooms if room.place in view.spawning]
    if begun:
        return _spawn(begun[0], spare=bool(seats))  # nothing new: whoever performs it knows how far it is
    rooms = within_reach(found.rooms, view)
    fitting = [room for room in rooms if room.fits]
    if fitting and (not serving or is_deep(job, view, serving, fitting)):
        return _spawn(choose_room(fitting, view), spare=bool(seats))
    if serving:
        return Wait(busy)
    making_room = _evict(job, view, rooms, asleep)
    if making_room is not None:
        return making_room
    return _no_way(job, view, found)


def within_reach(rooms: Sequence[Room], view: View) -> Sequence[Room]:
    """Leave out slower kinds of devices than the best that the model would fit on once our own workers made room.

    A model for the GPU does not go to the CPU for as long as another one is in its place; it does when strangers or
    pinned workers have the memory, for they may have it for ever.
    """
    kinds = sorted({room.place.backend for room in rooms}, key=places.PREFERENCE.index)
    for rank, kind in enumerate(kinds):
        if any(room.place.backend is kind and _attainable(room, view) for room in rooms):
            return [room for room in rooms if kinds.index(room.place.backend) <= rank]
    return rooms


def _attainable(room: Room, view: View) -> bool:
    return room.lacking <= eviction.ours(room.place.pool, room.place.gpu, view)


def is_deep(job: JobSpec, view: View, seats: Sequence[Seat], rooms: Sequence[Room]) -> bool:
    """Say whether so many wait for the model that another worker of it pays.

    More wait than all slots take at once, and longer than another worker takes to load, as far as both are known.
    """
    if not _more_wait_than(seats, job, view):
        return False
    model = view.fleet.names.canonical(job.model)
    slots, waiting = sum(seat.worker.slots for seat in seats), view.waiting.get(model, 0)
    job_ms = view.job_ms.get(model)
    load_ms = min(room.load_ms or USUAL_LOAD_MS for room in rooms)
    return job_ms is None or job_ms * waiting / max(1, slots) > load_ms


def _more_wait_than(seats: Sequence[Seat], job: JobSpec, view: View) -> bool:
    """Say whether more wait for the model than all slots take at once."""
    return view.waiting.get(view.fleet.names.canonical(job.model), 0) > sum(seat.worker.slots for seat in seats)


def _spawn(room: Room, *, spare: bool) -> Spawn:
    place = room.place
    return Spawn(place, WorkerSpec(backend=place.backend, model=room.file, gpu=place.gpu, spare=spare), room.need)


def _evict(job: JobSpec, view: View, rooms: Sequence[Room], asleep: Sequence[Seat]) -> Decision | None:
    """Find whom to evict for ``job``: where the least is lost, a worker that only has to be woken before a new one."""
    wanted = [*_beds(asleep, view), *(room for room in rooms if not room.taken)]
    for room in sorted(wanted, key=lambda room: places.PREFERENCE.index(room.place.backend)):
        pool, gpu = room.place.pool, room.place.gpu
        going = eviction.leaving(pool, gpu, view)
        lacking = room.lacking - sum(share(worker) for worker in going)
        if going and lacking <= 0:
            are = "is" if len(going) == 1 else "are"
            return Wait(f"{', '.join(worker.id for worker in going)} {are} being evicted for {job.model}")
        victims = eviction.clear(pool, gpu, lacking, view) if lacking > 0 else ()
        if victims:
            return Evict(room.place, tuple(victims))
    return _kept(job, view, wanted)


def _beds(asleep: Sequence[Seat], view: View) -> list[Room]:
    """Return what each worker that is asleep would need to wake, as rooms."""
    beds = []
    for seat in asleep:
        worker, devices = seat.worker, view.fleet.devices(seat.pool)
        for device in (each for each in devices if each.gpu in gpus_of(worker) and not each.problem):
            place = Place(seat.pool, view.fleet.names.canonical(worker.model), worker.backend, device.gpu)
            free = max(0, device.free_bytes - view.promised[seat.pool, device.gpu])
            need = share(worker, device.gpu)
            beds.append(Room(place=place, file=worker.model, need=need, free=free, total=device.total_bytes))
    return beds


def _kept(job: JobSpec, view: View, rooms: Sequence[Room]) -> Wait | None:
    """Say who keeps the memory that ``job`` waits for, where somebody will let it go."""
    for room in rooms:
        kept = eviction.keepers(room.place.pool, room.place.gpu, view) if room.total >= room.need else ()
        if kept:
            who = "; ".join(f"{each.worker} {each.why}" for each in kept)
            until_s = min((each.until_s for each in kept if each.until_s is not None), default=None)
            where = room.place.pool if room.place.gpu is None else f"gpu {room.place.gpu} of {room.place.pool}"
            lacks = f"{job.model} needs {bytes_text(room.need)}, {where} has {bytes_text(room.free)} free"
            return Wait(f"{lacks}: {who}", until_s=until_s)
    return None


def _no_way(job: JobSpec, view: View, found: Found) -> Decision:
    if found.rooms:
        found = places.too_full(job, found.rooms)
    if found.patience:
        return Wait(found.patience, absent=found.absent)
    if view.settling:
        return Wait("pools known from before have not spoken yet", absent=True)
    return Refuse(found.error or NoCapacity(f"no pool can run {job.model}"))


def _matches(worker: WorkerStatus, wanted: Placement) -> bool:
    return wanted.backend in (None, worker.backend.value) and wanted.gpu in (None, *gpus_of(worker))


def holds(worker: WorkerStatus, context_tokens: int) -> bool:
    """Say whether a prompt of so many tokens leaves room for an answer in the worker's context."""
    return not worker.ctx or context_tokens < worker.ctx
