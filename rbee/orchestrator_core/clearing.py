"""How a room for a new worker is made: who would go for it, who stays, and whom one waits for. Pure.

A room of several devices lacks the same share of each. A job that has waited for a while for workers that have work
claims them: they are given no more of it, so that they are done at some time, and whoever is behind in the line gets
nothing that would be in the way. Else a large model would wait for as long as small ones keep a GPU busy.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from rbee.orchestrator_core import eviction
from rbee.orchestrator_core.devices import DeviceKey, key_of, share
from rbee.orchestrator_core.eviction import Keeper, Victim
from rbee.orchestrator_core.places import PREFERENCE
from rbee.orchestrator_core.rooms import Room
from rbee.orchestrator_core.view import Claim, Key, View
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

COMPARED = 64
"""So many rooms are compared; in larger fleets the best of these is good enough."""


def lacking(room: Room, view: View) -> Sequence[tuple[DeviceKey, int]]:
    """Return how many bytes each device of ``room`` lacks; nothing where none does."""
    if room.lacking <= 0:
        return ()
    if len(room.devices) <= 1:
        return ((room.keys[0], room.lacking),)
    each = -(-room.need // len(room.devices))
    pool, promised = room.place.pool, view.promised
    free = [(key_of(device), device.free_bytes - promised[pool, key_of(device)]) for device in room.devices]
    return tuple((device, each - max(0, left)) for device, left in free if left < each)


def attainable(room: Room, view: View) -> bool:
    """Say whether the room would be there if all our workers gave up what they may give up."""
    if len(room.devices) <= 1:
        return room.lacking <= room.holders.ours
    pool = room.place.pool
    return all(lack <= view.fleet.holders(pool, device).ours for device, lack in lacking(room, view))


def within_reach(rooms: Sequence[Room], view: View) -> Sequence[Room]:
    """Leave out slower kinds of devices than the best that the model would fit on once our own workers made room.

    A model for the GPU does not go to the CPU for as long as another one is in its place; it does when strangers or
    pinned workers have the memory, for they may have it for ever.
    """
    slower: list[Backend] = list(PREFERENCE)
    while slower:
        kind = slower.pop(0)
        if any(room.place.backend is kind and attainable(room, view) for room in rooms):
            return [room for room in rooms if room.place.backend not in slower]
    return rooms


def victims_for(room: Room, view: View) -> Sequence[Victim]:
    """Return whom to evict for ``room``; nobody, where nobody has to go or that would not do."""
    found: dict[str, Victim] = {}
    for device, lack in lacking(room, view):
        victims = eviction.clear(room.place.pool, device, lack, view)
        if not victims:
            return ()
        found |= {victim.worker: victim for victim in victims}
    return tuple(found.values())


def cheapest(rooms: Iterable[Room], view: View) -> tuple[Room, Sequence[Victim]] | None:
    """Return the room for which least is lost, and who has to go for it; of rooms alike the first.

    Nobody goes whose priority is higher than that of all who would have to go for another room.
    """
    found = ((room, victims) for room in eviction.promising(rooms, view) if (victims := victims_for(room, view)))
    return min(islice(found, COMPARED), key=lambda each: _worth(each[1], view), default=None)


def leaving(room: Room, view: View) -> Sequence[WorkerStatus]:
    """Return who is being evicted already, where what they leave is enough for ``room``."""
    going: dict[str, WorkerStatus] = {}
    for device, lack in lacking(room, view):
        there = eviction.leaving(room.place.pool, device, view)
        if sum(share(worker, device) for worker in there) < lack:
            return ()
        going |= {worker.id: worker for worker in there}
    return tuple(going.values())


def keepers(room: Room, view: View) -> Sequence[Keeper]:
    """Return who stays although ``room`` lacks what they have."""
    kept = (each for device, _ in lacking(room, view) for each in eviction.keepers(room.place.pool, device, view))
    return tuple({each.worker: each for each in kept}.values())


def claim(rooms: Iterable[Room], view: View) -> Claim | None:
    """Return the room to wait for, with those who make it once their work is done: the one with the least work."""
    enough = (room for room in rooms if room.total >= room.need)
    found = ((room, workers) for room in islice(enough, COMPARED) if (workers := _done_for(room, view)))
    best = min(found, key=lambda each: sum(each[1].values()), default=None)
    if best is None:
        return None
    room, workers = best
    return Claim(
        model=room.place.model,
        workers=frozenset(workers),
        devices=frozenset((room.place.pool, device) for device in room.keys),
    )


def _done_for(room: Room, view: View) -> dict[Key, int]:
    """Return who has to go for ``room`` once his work is done, and how much work each has; nobody, if that won't do."""
    found: dict[Key, int] = {}
    for device, lack in lacking(room, view):
        willing = _willing(room.place.pool, device, view)
        candidates = [(_work(key, worker, view), key, worker) for key, worker in willing]
        for work, key, worker in sorted(candidates, key=lambda each: (each[0], each[2].priority, each[1])):
            if lack > 0:
                found[key] = work
                lack -= share(worker, device)  # noqa: PLW2901
        if lack > 0:
            return {}
    return found


def _willing(pool: str, device: DeviceKey, view: View) -> Iterable[tuple[Key, WorkerStatus]]:
    for worker in view.fleet.holders(pool, device).all:
        key = (pool, worker.id)
        if key not in view.leaving and key not in view.claimed and eviction.goes_when_done(key, worker, view):
            yield key, worker


def _work(key: Key, worker: WorkerStatus, view: View) -> int:
    return max(view.in_flight.get(key, 0), int(worker.state is WorkerState.BUSY))


def _worth(victims: Sequence[Victim], view: View) -> tuple[int, float]:
    found = [(victim, view.fleet.worker(victim.pool, victim.worker)) for victim in victims]
    there = [((victim.pool, victim.worker), worker) for victim, worker in found if worker is not None]
    highest = max((worker.priority for _, worker in there), default=0)
    return highest, sum(eviction.worth(key, worker, view) for key, worker in there)
