"""Which of several workers, or places for a new one, where all would do. Functions by name; ties go by name as well."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rbee.orchestrator_core.devices import is_on
from rbee.orchestrator_core.places import PREFERENCE
from rbee.orchestrator_core.rooms import Room
from rbee.orchestrator_core.view import View
from rbee.wire.workers import WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker of the right model at an open pool, how many of its slots are free, and how much it knows already.

    Args:
        warm_bytes: of the prompt's beginning, that the worker has read before.
    """

    pool: str
    worker: WorkerStatus
    free: int
    warm_bytes: int = 0


Order: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Strategy:
    """``seat`` and ``room`` give a key; the least is taken."""

    seat: Callable[[Seat, View], Order]
    room: Callable[[Room, View], Order]


def free_bytes(seat: Seat, view: View) -> int:
    """Return what is free on the devices of a worker."""
    return sum(device.free_bytes for device in view.fleet.devices(seat.pool) if is_on(seat.worker, device))


def _given_s(seat: Seat, view: View) -> float:
    use = view.used.get((seat.pool, seat.worker.id))
    return float("-inf") if use is None else use.at_s


STRATEGIES: Mapping[str, Strategy] = {
    "least-loaded": Strategy(
        seat=lambda seat, _: (-seat.free, seat.worker.slots),
        room=lambda room, view: (view.busy[room.place.pool], -room.free),
    ),
    "most-vram-free": Strategy(
        seat=lambda seat, view: (-free_bytes(seat, view), -seat.free),
        room=lambda room, _: (-room.free,),
    ),
    "round-robin": Strategy(
        seat=lambda seat, view: (_given_s(seat, view),),
        room=lambda room, view: (view.pool_used_s.get(room.place.pool, float("-inf")), -room.free),
    ),
}


def choose_seat(seats: Sequence[Seat], view: View) -> Seat:
    """Return the seat where most of the prompt is warm; where that decides nothing, by the strategy."""
    strategy = STRATEGIES[view.strategy]
    return min(seats, key=lambda s: (-s.warm_bytes, *strategy.seat(s, view), s.pool, s.worker.id))


def choose_room(rooms: Sequence[Room], view: View) -> Room:
    """Return the room with the best kind of device; among equals, by the strategy."""
    strategy = STRATEGIES[view.strategy]
    return min(
        rooms,
        key=lambda r: (PREFERENCE.index(r.place.backend), *strategy.room(r, view), r.place.pool, r.place.gpu or 0),
    )
