"""Where does this job run? A pure answer; the dispatcher performs it.

In order: a ready worker with a free slot; one that is asleep (connecting wakes it); one that is starting; a
new one where the model lies and fits; else patience, or a refusal where patience would not help.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rbee.errors import NoCapacity, RbeeError
from rbee.orchestrator_core import places
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.places import Place
from rbee.orchestrator_core.registry import PoolView
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.workers import WorkerSpec, WorkerState, WorkerStatus

Slots: TypeAlias = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known when deciding.

    Args:
        in_flight: (pool, worker) → how many of our jobs it has.
        settling: the queen has just started, and pools it knows have not spoken yet.
    """

    pools: tuple[PoolView, ...]
    names: Names
    in_flight: Slots
    settling: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """``wakes`` says that the worker is asleep."""

    pool: str
    worker: str
    wakes: bool = False


@dataclass(frozen=True, slots=True)
class Spawn:
    """Equal places mean the same need: one spawn answers it, however many jobs ask."""

    place: Place
    spec: WorkerSpec


@dataclass(frozen=True, slots=True)
class Wait:
    """``absent`` says that a pool that is not here might help."""

    reason: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    error: RbeeError


Decision: TypeAlias = Run | Spawn | Wait | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker of the right model at a ready pool, and how many of its slots are free."""

    pool: str
    worker: WorkerStatus
    free: int


Policy: TypeAlias = Callable[[Sequence[Seat]], Seat]


def least_loaded(seats: Sequence[Seat]) -> Seat:
    """The seat with most room: answers come soonest."""
    return max(seats, key=lambda seat: (seat.free, -seat.worker.slots, seat.pool, seat.worker.id))


def fill_first(seats: Sequence[Seat]) -> Seat:
    """The fullest seat that still has room: the others may fall asleep."""
    return min(seats, key=lambda seat: (seat.free, seat.pool, seat.worker.id))


POLICIES: Mapping[str, Policy] = {"least-loaded": least_loaded, "fill-first": fill_first}


def decide(job: JobSpec, view: View, policy: str = "least-loaded") -> Decision:
    """Choose what to do with ``job`` now."""
    seats = _seats(job, view)
    for state, wakes in (((WorkerState.READY, WorkerState.BUSY), False), ((WorkerState.ASLEEP,), True)):
        open_ = [seat for seat in seats if seat.free > 0 and seat.worker.state in state]
        if open_:
            seat = POLICIES[policy](open_)
            return Run(seat.pool, seat.worker.id, wakes)
    starting = next((seat for seat in seats if seat.worker.state is WorkerState.STARTING), None)
    if starting is not None:
        return Wait(f"worker {starting.worker.id} on {starting.pool} is starting")
    return _without_a_seat(job, view, seats)


def _without_a_seat(job: JobSpec, view: View, seats: Sequence[Seat]) -> Decision:
    found = places.search(job, view.pools, view.names)
    if found.best is not None:
        place = found.best.place
        return Spawn(place, WorkerSpec(backend=place.backend, model=found.best.file, gpu=place.gpu))
    if seats:
        slots = sum(seat.worker.slots for seat in seats)
        return Wait(f"all {slots} slots for {job.model} are busy")
    if found.patience:
        return Wait(found.patience, absent=found.absent)
    if view.settling:
        return Wait("pools known from before have not spoken yet", absent=True)
    return Refuse(found.error or NoCapacity(f"no pool can run {job.model}"))


def _seats(job: JobSpec, view: View) -> list[Seat]:
    return [
        Seat(pool=pool.id, worker=worker, free=worker.slots - view.in_flight.get((pool.id, worker.id), 0))
        for pool in view.pools
        if places.is_open(pool, job.placement)
        for worker in pool.workers
        if worker.state in _SERVING and view.names.same(worker.model, job.model) and _fits(worker, job.placement)
    ]


_SERVING = frozenset({WorkerState.READY, WorkerState.BUSY, WorkerState.ASLEEP, WorkerState.STARTING})


def _fits(worker: WorkerStatus, wanted: Placement) -> bool:
    return wanted.backend in (None, worker.backend.value) and wanted.gpu in (None, worker.gpu)
