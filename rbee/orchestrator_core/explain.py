"""Why a decision came out as it did: who was considered, and what spoke for or against each. Pure; in sentences.

Only asked for when something is decided, since it looks at everybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rbee.orchestrator_core import clearing, eviction, places
from rbee.orchestrator_core.eviction import Keeper
from rbee.orchestrator_core.rooms import Room, place_text
from rbee.orchestrator_core.scheduling import Evict, Run, Spawn, fits, seats_of
from rbee.orchestrator_core.strategies import Seat
from rbee.orchestrator_core.view import Key, View, is_open
from rbee.wire.jobs import JobSpec
from rbee.wire.words import bytes_text, counted
from rbee.wire.workers import WorkerState, WorkerStatus

MOST = 24
"""More are not told apart in one explanation."""


def considered(job: JobSpec, view: View, warm: Mapping[Key, int]) -> list[Mapping[str, str]]:
    """Return who could have run ``job``, or where a new worker could have been, each with what was found."""
    return list(islice(_considered(job, view, warm), MOST))


def run_sentence(decision: Run, view: View) -> str:
    """Return why the job went there."""
    where = f"{decision.worker} on {decision.pool}"
    if decision.wakes:
        return f"woke {where}: it was asleep, and its memory was free"
    status = view.fleet.worker(decision.pool, decision.worker)
    free = 0 if status is None else status.slots - view.in_flight.get((decision.pool, decision.worker), 0)
    warm = f", and had read the first {bytes_text(decision.warm_bytes)} before" if decision.warm_bytes else ""
    return f"ran on {where}: it had {counted(free, 'free slot')}{warm}"


def spawn_sentence(decision: Spawn) -> str:
    return f"started {_new_worker(decision)}"


def spawning_sentence(decision: Spawn) -> str:
    return f"starting {_new_worker(decision)}"


def _new_worker(decision: Spawn) -> str:
    place = decision.place
    kind = "a spare worker" if decision.spec.spare else "a worker"
    takes = f", which takes {bytes_text(decision.need)}" if decision.need else ""
    return f"{kind} of {place.model} on {place_text(place)}{takes}"


def evict_sentence(decision: Evict) -> str:
    who = "; ".join(f"{each.worker} has to go, which {each.why}" for each in decision.victims)
    return f"making room for {decision.place.model} on {place_text(decision.place)}: {who}"


def worker_sentence(key: Key, worker: WorkerStatus, view: View) -> str:
    """Return what would become of a worker if its memory were wanted."""
    if worker.state is WorkerState.ASLEEP:
        return f"is asleep and takes nothing; awake it takes {bytes_text(worker.need_bytes)}"
    if worker.state in (WorkerState.STOPPED, WorkerState.FAILED, WorkerState.LOST):
        return f"is {worker.state}"
    if key in view.leaving:
        return "is being evicted"
    if key in view.claimed:
        return f"gets no new job, to make room for {view.claimed[key]}, whose turn it is"
    kept = eviction.keeps(key, worker, view)
    if kept is not None:
        return f"stays: it {kept.why}"
    idle_s = view.idle_s(key)
    idle = "" if idle_s < 1 or idle_s == float("inf") else f", idle for {idle_s:.0f} s"
    rank = f", after those of lower priority than {worker.priority}" if worker.priority > 0 else ""
    rank = f", before those of higher priority than {worker.priority}" if worker.priority < 0 else rank
    return f"may be evicted for another model{rank}{idle}"


def _considered(job: JobSpec, view: View, warm: Mapping[Key, int]) -> Iterator[Mapping[str, str]]:
    for seat in seats_of(job, view, warm):
        yield {"pool": seat.pool, "worker": seat.worker.id, "found": _of_seat(seat, view)}
    yield from _closed(job, view)
    for room in places.search(job, view).rooms:
        yield {"pool": room.place.pool, "device": _device(room), "found": _of_room(room, view)}


def _of_seat(seat: Seat, view: View) -> str:
    match seat.worker.state:
        case WorkerState.STARTING:
            return "is starting"
        case WorkerState.ASLEEP:
            return "is asleep, and fits" if fits(seat, view) else "is asleep, and its memory is not free"
    if seat.free <= 0:
        return "its slot is busy" if seat.worker.slots == 1 else f"all of its {seat.worker.slots} slots are busy"
    warm = f", {bytes_text(seat.warm_bytes)} of the prompt are warm" if seat.warm_bytes else ""
    return f"{counted(seat.free, 'free slot')}{warm}"


def _closed(job: JobSpec, view: View) -> Iterator[Mapping[str, str]]:
    """Yield the workers of the model that a job may not go to, since their pool is not open."""
    for pool, worker in view.fleet.workers(view.fleet.names.canonical(job.model)):
        if job.placement.pool in (None, pool.id) and not is_open(pool, job.placement):
            yield {"pool": pool.id, "worker": worker.id, "found": f"pool {pool.id} is {pool.condition}"}


def _of_room(room: Room, view: View) -> str:
    if room.taken:
        return "a worker of this model is there already"
    needs = f"needs {bytes_text(room.need)}, {bytes_text(room.free)} are free"
    if room.place in view.failed:
        return f"{needs}, but a worker could not be started there lately"
    if room.fits:
        return needs
    victims = clearing.victims_for(room, view)
    if victims:
        return f"{needs}; {', '.join(victim.worker for victim in victims)} would have to go"
    kept = "; ".join(_kept(each) for each in clearing.keepers(room, view))
    return f"{needs}; {kept}" if kept else needs


def _kept(keeper: Keeper) -> str:
    return f"{keeper.worker} {keeper.why}"


def _device(room: Room) -> str:
    if room.place.backend.value == "cpu":
        return "cpu"
    return f"{room.place.backend}, " + ("all GPUs" if room.place.gpu is None else f"gpu {room.place.gpu}")


def waited(history: Sequence[tuple[int, str]], since_ms: int) -> list[Mapping[str, Any]]:
    """Return why a job waited, from what all with its need were told: the last before it came, and all since."""
    before = [entry for entry in history if entry[0] <= since_ms][-1:]
    return [{"at_ms": max(at_ms, since_ms), "reason": reason} for at_ms, reason in (*before, *history[len(before):])
            if at_ms > since_ms or (at_ms, reason) in before]  # fmt: skip
