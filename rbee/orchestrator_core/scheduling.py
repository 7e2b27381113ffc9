"""Where does this job run? A pure answer; the dispatcher performs it.

In order: a ready worker with a free slot; one that is asleep and still fits (connecting wakes it); one that is
starting; a new one where the model lies and fits; one for which others have to go; else patience, or a refusal where
patience would not help.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rbee.errors import NoCapacity, RbeeError
from rbee.orchestrator_core import clearing, fitness, places
from rbee.orchestrator_core.devices import gpus_of, is_on, key_of, share
from rbee.orchestrator_core.eviction import Victim
from rbee.orchestrator_core.holders import USUAL_LOAD_MS
from rbee.orchestrator_core.places import Found
from rbee.orchestrator_core.rooms import Place, Room, place_text
from rbee.orchestrator_core.strategies import Seat, choose_room, choose_seat
from rbee.orchestrator_core.view import Claim, Key, View, is_open
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.words import bytes_text
from rbee.wire.workers import WorkerSpec, WorkerState, WorkerStatus

WARM_BYTES = 512
"""A shorter common beginning is read again sooner than it is worth waiting or crowding for."""

CLAIMS_AFTER_S = 10.0
"""A job that waits longer for workers that have work has them finish: most jobs are over sooner by themselves."""


@dataclass(frozen=True, slots=True)
class Run:
    """``wakes`` says that the worker is asleep; ``warm_bytes`` how much of the prompt it has read before."""

    pool: str
    worker: str
    wakes: bool = False
    warm_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Spawn:
    """One spawn answers all who ask for an equal place. ``need`` is in bytes.

    ``meanwhile`` says what the job waits for besides; it is empty where this is its only hope.
    """

    place: Place
    spec: WorkerSpec
    need: int = 0
    meanwhile: str = ""


@dataclass(frozen=True, slots=True)
class Evict:
    """Have ``victims`` go, so that a worker of the job's model fits at ``place``."""

    place: Place
    victims: tuple[Victim, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """``absent`` says that a pool that is not here might help; ``until_s`` when to look again at the latest.

    ``wanted`` are the rooms that it waits for; ``claim`` is what of them nobody who comes after may have.
    """

    reason: str
    absent: bool = False
    until_s: float | None = None
    claim: Claim | None = None
    wanted: Sequence[Room] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refuse:
    error: RbeeError


Decision: TypeAlias = Run | Spawn | Evict | Wait | Refuse


def decide(
    job: JobSpec,
    view: View,
    *,
    warm: Mapping[Key, int] | None = None,
    context_tokens: int = 0,
    waited_s: float = 0.0,
) -> Decision:
    """Choose what to do with ``job`` now.

    Args:
        warm: how many bytes of the prompt's beginning each worker has read before.
        context_tokens: how many it has at least; a worker with less context is none for it.
        waited_s: how long it waits already.
    """
    wrong = fitness.unfit(job, view)
    if wrong is not None:
        return Refuse(wrong)
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
        return Wait(f"{starting.worker.id} on {starting.pool} is starting")
    decision = _with_more(job, view, seats, asleep)
    if isinstance(decision, Wait) and decision.wanted and waited_s >= CLAIMS_AFTER_S:
        decision = dataclasses.replace(decision, claim=clearing.claim(decision.wanted, view))
    if there and not seats and isinstance(decision, Wait):
        short = f"no worker of {job.model} has a context of more than {context_tokens} tokens"
        return dataclasses.replace(decision, reason=f"{short}; {decision.reason}")
    return decision


def seats_of(job: JobSpec, view: View, warm: Mapping[Key, int]) -> list[Seat]:
    """Return the workers that could run ``job``, busy ones included."""
    found = []
    for pool, worker in view.fleet.workers(view.fleet.names.canonical(job.model)):
        key = (pool.id, worker.id)
        if is_open(pool, job.placement) and _matches(worker, job.placement) and key not in view.leaving:
            known = warm.get(key, 0)
            free = 0 if key in view.claimed else worker.slots - view.in_flight.get(key, 0)
            found.append(
                Seat(pool=pool.id, worker=worker, free=free, warm_bytes=known if known >= WARM_BYTES else 0)
            )  # fmt: skip
    return found


def fits(seat: Seat, view: View) -> bool:
    """Say whether a worker that is asleep would find its memory free; one that others wake already has it promised."""
    if view.in_flight.get((seat.pool, seat.worker.id), 0) > 0:
        return True
    pool, worker = seat.pool, seat.worker
    for device in view.fleet.devices(pool):
        if is_on(worker, device):
            key = key_of(device)
            if (pool, key) in view.kept or device.free_bytes - view.promised[pool, key] < share(worker, key):
                return False
    return True


def _run(seat: Seat, *, wakes: bool = False) -> Run:
    return Run(seat.pool, seat.worker.id, wakes, seat.warm_bytes)


def _with_more(job: JobSpec, view: View, seats: Sequence[Seat], asleep: Sequence[Seat]) -> Decision:
    """Nobody has a free slot now: make room, wait, or refuse."""
    serving = [seat for seat in seats if seat.worker.state is not WorkerState.ASLEEP]
    busy = _busy(job, serving, view) if serving else ""
    if serving and not _more_wait_than(serving, job, view):
        return Wait(busy)
    found = places.search(job, view)
    begun = _begun(found.rooms, view)
    if begun is not None:
        return _spawn(begun, spare=bool(seats), meanwhile=busy)  # whoever performs it knows how far it is
    near = clearing.within_reach(found.rooms, view)
    rooms = [room for room in near if not _kept_for(room, view)] if view.claims else near
    fitting = _untried([room for room in rooms if room.fits], view, spare=bool(serving))
    if fitting and (not serving or is_deep(job, view, serving, fitting)):
        return _spawn(choose_room(fitting, view), spare=bool(seats), meanwhile=busy)
    if serving:
        return Wait(busy)
    beds = _beds(asleep, view)
    return _evict(job, view, rooms, beds) or _turn_of_another((*beds, *near), view) or _no_way(job, view, found)


def _untried(rooms: Sequence[Room], view: View, *, spare: bool) -> Sequence[Room]:
    """Leave out where a spawn has failed lately, unless there is nowhere else; a spare worker is not worth a try."""
    fresh = [room for room in rooms if room.place not in view.failed] if view.failed else rooms
    return fresh if spare else fresh or rooms


def _busy(job: JobSpec, serving: Sequence[Seat], view: View) -> str:
    claimed = next((seat for seat in serving if (seat.pool, seat.worker.id) in view.claimed), None)
    if claimed is not None:
        first = view.claimed[claimed.pool, claimed.worker.id]
        return f"{claimed.worker.id} on {claimed.pool} takes no more: it is to make room for {first}, whose turn it is"
    slots = sum(seat.worker.slots for seat in serving)
    return f"the slot for {job.model} is busy" if slots == 1 else f"all {slots} slots for {job.model} are busy"


def _kept_for(room: Room, view: View) -> str | None:
    """Return the model whose turn it is to have the memory of ``room``."""
    pool, kept = room.place.pool, view.kept
    return next((kept[pool, device] for device in room.keys if (pool, device) in kept), None) if kept else None


def _turn_of_another(rooms: Sequence[Room], view: View) -> Wait | None:
    kept = next((room for room in rooms if _kept_for(room, view)), None)
    if kept is None:
        return None
    return Wait(f"{place_text(kept.place)} is kept for {_kept_for(kept, view)}, whose turn it is")


def _begun(rooms: Sequence[Room], view: View) -> Room | None:
    pools = {place.pool for place in view.spawning}
    return next((room for room in rooms if room.place.pool in pools and room.place in view.spawning), None)


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


def _spawn(room: Room, *, spare: bool, meanwhile: str) -> Spawn:
    place = room.place
    spec = WorkerSpec(backend=place.backend, model=room.file, gpu=place.gpu, spare=spare)
    return Spawn(place, spec, room.need, meanwhile)


def _evict(job: JobSpec, view: View, rooms: Sequence[Room], beds: Sequence[Room]) -> Decision | None:
    """Find whom to evict for ``job``: where the least is lost, a worker that only has to be woken before a new one."""
    beds = [bed for bed in beds if not _kept_for(bed, view)]
    free = [room for room in rooms if not room.taken]
    pools = {pool for pool, _ in view.leaving}
    for room in [room for room in (*beds, *free) if room.place.pool in pools] if pools else ():
        going = clearing.leaving(room, view)
        if going:
            are = "is" if len(going) == 1 else "are"
            return Wait(f"{', '.join(worker.id for worker in going)} {are} being evicted to make room")
    kinds = {room.place.backend for room in (*beds, *free)}
    for kind in [kind for kind in places.PREFERENCE if kind in kinds]:
        for part in (beds, free):
            found = clearing.cheapest((room for room in part if room.place.backend is kind), view)
            if found is not None:
                return Evict(found[0].place, tuple(found[1]))
    return _kept(job, view, [*beds, *free])


def _beds(asleep: Sequence[Seat], view: View) -> list[Room]:
    """Return what each worker that is asleep would need to wake, as rooms."""
    beds = []
    for seat in asleep:
        worker, devices = seat.worker, view.fleet.devices(seat.pool)
        for device in (each for each in devices if is_on(worker, each) and not each.problem):
            key = key_of(device)
            place = Place(seat.pool, view.fleet.names.canonical(worker.model), worker.backend, device.gpu)
            free = max(0, device.free_bytes - view.promised[seat.pool, key])
            holders = view.fleet.holders(seat.pool, key)
            beds.append(
                Room(
                    place=place,
                    file=worker.model,
                    need=share(worker, key),
                    free=free,
                    total=device.total_bytes,
                    devices=(device,),
                    holders=holders,
                )
            )
    return beds


def _kept(job: JobSpec, view: View, rooms: Sequence[Room]) -> Wait | None:
    """Say who keeps the memory that ``job`` waits for, where somebody will let it go."""
    for room in rooms:
        kept = clearing.keepers(room, view) if room.total >= room.need else ()
        if kept:
            who = "; ".join(f"{each.worker} {each.why}" for each in kept)
            until_s = min((each.until_s for each in kept if each.until_s is not None), default=None)
            lacks = (
                f"{job.model} needs {bytes_text(room.need)}, {place_text(room.place)} has {bytes_text(room.free)} free"
            )
            return Wait(f"{lacks}: {who}", until_s=until_s, wanted=rooms)
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
