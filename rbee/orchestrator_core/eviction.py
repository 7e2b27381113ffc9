"""Whose memory is given to another model, and whose is not. Pure.

A worker keeps its memory while it is pinned, has work, or is being loaded; and, while jobs of its model wait, for a
tenure that grows with what its loading took, so that two models that share a GPU do not spend their time loading.
Of the rest the one goes whose priority is lowest, and of those alike who is worth least: used for batch jobs only, idle
longest, loaded again soonest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rbee.orchestrator_core.devices import DeviceKey, share
from rbee.orchestrator_core.holders import USUAL_LOAD_MS, Movable, tenure_s
from rbee.orchestrator_core.rooms import Room
from rbee.orchestrator_core.view import Key, View
from rbee.wire.workers import WorkerState, WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A worker to evict. ``frees`` is in bytes of the device in question."""

    pool: str
    worker: str
    model: str
    frees: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """A worker that stays, and why."""

    pool: str
    worker: str
    why: str
    until_s: float | None = None


def promising(rooms: Iterable[Room], view: View) -> Iterator[Room]:
    """Yield those of ``rooms`` where ``clear`` might find somebody, or somebody is going already; and split ones.

    Where a house is full of workers that have work this is all that there is to see, so it is quick.
    """
    going = {pool for pool, _ in view.leaving}
    working = view.working
    wanted = {model for model, jobs in view.waiting.items() if jobs}
    for room in rooms:
        if room.place.pool in going or len(room.devices) > 1:
            yield room
            continue
        keys, young = room.holders.keys, room.holders.young
        if keys <= working or (young is not None and young <= wanted):
            continue
        if any(not (key in working or (left_s and model in wanted)) for key, model, left_s, _ in room.holders.movable):
            yield room


def clear(pool: str, device: DeviceKey, lacking: int, view: View) -> Sequence[Victim]:
    """Return whom to evict so that ``lacking`` bytes more are free there; nobody, when that cannot be."""
    holders = view.fleet.holders(pool, device)
    if holders.movable_bytes < lacking:
        return ()
    going = [each.worker for each in holders.movable if _goes(each, view)]
    if sum(share(worker, device) for worker in going) < lacking:
        return ()
    chosen: list[Victim] = []
    for worker in sorted(going, key=lambda each: (each.priority, worth((pool, each.id), each, view))):
        if sum(victim.frees for victim in chosen) >= lacking:
            break
        why = _why((pool, worker.id), worker, view)
        chosen.append(Victim(pool=pool, worker=worker.id, model=worker.model, frees=share(worker, device), why=why))
    return _needed(chosen, lacking)


def keepers(pool: str, device: DeviceKey, view: View) -> Sequence[Keeper]:
    """Return who stays there although somebody wants the memory."""
    found = ((worker, keeps((pool, worker.id), worker, view)) for worker in _holding(pool, device, view))
    return [kept for _, kept in found if kept is not None]


def keeps(key: Key, worker: WorkerStatus, view: View) -> Keeper | None:
    """Return why ``worker`` may not be evicted now; None when it may."""
    pool, name = key
    why, until_s = "", None
    if worker.pinned:
        why = "is pinned"
    elif view.in_flight.get(key, 0) > 0 or worker.state is WorkerState.BUSY:
        why = "has work"
    elif worker.state is WorkerState.STARTING:
        why = "is being loaded"
    elif worker.state is not WorkerState.READY:
        why = f"is {worker.state}"
    elif (until_s := _tenure_ends_s(key, worker, view)) is not None:
        why = f"keeps its place for {until_s - view.now_s:.0f} s more: jobs for {worker.model} wait, and it was loaded"
    return Keeper(pool=pool, worker=name, why=why, until_s=until_s) if why else None


def worth(key: Key, worker: WorkerStatus, view: View) -> float:
    """Return how much is lost when ``worker`` goes: ms of loading for each second it was idle; batch counts a tenth."""
    use = view.used.get(key)
    load_ms = worker.load_ms or USUAL_LOAD_MS
    value = load_ms / max(1.0, min(view.idle_s(key), 86_400.0))
    return value / 10 if use is not None and use.batch else value


def leaving(pool: str, device: DeviceKey, view: View) -> Sequence[WorkerStatus]:
    """Return who is being evicted there and has not gone yet."""
    if not view.leaving:
        return ()
    return [worker for worker in view.fleet.holders(pool, device).all if (pool, worker.id) in view.leaving]


def goes_when_done(key: Key, worker: WorkerStatus, view: View) -> bool:
    """Say whether nothing but the work he may have speaks against evicting ``worker``."""
    serving = worker.state in (WorkerState.READY, WorkerState.BUSY)
    return serving and not worker.pinned and share(worker) > 0 and _tenure_ends_s(key, worker, view) is None


def _goes(each: Movable, view: View) -> bool:
    """Say whether nothing that the queen knows speaks against evicting it."""
    stays = view.in_flight.get(each.key) or (each.tenure_s and view.waiting.get(each.model))
    return not stays and each.key not in view.leaving


def _holding(pool: str, device: DeviceKey, view: View) -> Sequence[WorkerStatus]:
    return [worker for worker in view.fleet.holders(pool, device).all if (pool, worker.id) not in view.leaving]


def _tenure_ends_s(key: Key, worker: WorkerStatus, view: View) -> float | None:
    """Return when its tenure ends; None when it has, or nobody waits for its model.

    Both times are of the pool's own clock: how old the worker was when the pool last spoke.
    """
    pool = view.fleet.find(key[0])
    if not view.waiting.get(view.fleet.names.canonical(worker.model)):
        return None
    left_s = tenure_s(worker, pool.snapshot.at_ms if pool and pool.snapshot else 0)
    return view.now_s + left_s if left_s else None


def _needed(victims: list[Victim], lacking: int) -> Sequence[Victim]:
    """Leave out who was chosen first and is not needed once a larger one goes as well."""
    spare = sum(victim.frees for victim in victims) - lacking
    kept = []
    for victim in reversed(victims):
        if victim.frees <= spare:
            spare -= victim.frees
        else:
            kept.append(victim)
    return tuple(reversed(kept))


def _why(key: Key, worker: WorkerStatus, view: View) -> str:
    idle_s = view.idle_s(key)
    idle = "had no job yet" if idle_s == float("inf") else f"had no job for {idle_s:.0f} s"
    idle = "had just done its last job" if idle_s < 1 else idle
    load = "" if worker.load_ms is None else f", and is loaded again in {worker.load_ms / 1000:.1f} s"
    rank = f"has priority {worker.priority}, " if worker.priority else ""
    return f"{rank}{idle}{load}"
