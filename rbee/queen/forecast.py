"""When a job will probably start: by what its model's jobs took lately, how far those are that run, what must load.

All of it measured; where something was never measured, nothing is said.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbee.orchestrator_core import clearing, places
from rbee.orchestrator_core.eviction import Keeper
from rbee.orchestrator_core.queue import Rank
from rbee.orchestrator_core.rates import Rates, Size, size_of, start_ms
from rbee.orchestrator_core.rooms import Room
from rbee.orchestrator_core.scheduling import fits, seats_of
from rbee.orchestrator_core.strategies import Seat
from rbee.orchestrator_core.view import View
from rbee.queen.errands import Errands
from rbee.queen.job import Job, Need, need_of, share_of
from rbee.queen.jobs import Jobs
from rbee.queen.spawner import Spawner
from rbee.wire.jobs import JobSpec, Placement, Priority
from rbee.wire.workers import WorkerState

_ASKED = 50
"""Of so many jobs ahead it is looked at how much they may say; of the others that is taken to be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a new job has before it.

    Args:
        at_once: a slot is free for it, so it never waits.
        first: nobody is before it who might want the same.
        start_ms: from now; None where nothing is known.
    """

    place: int
    at_once: bool
    first: bool
    start_ms: int | None


class Forecast:
    def __init__(self, jobs: Jobs, errands: Errands, spawner: Spawner, rates: Rates) -> None:
        self._jobs = jobs
        self._errands = errands
        self._spawner = spawner
        self._rates = rates

    def of(self, job: Job, view: View) -> int | None:
        """Return in how many ms a job that waits may start."""
        rank = self._jobs.queue.rank(job.id)
        if rank is None:
            return None
        found = self._start_ms(job.spec, *self._before(rank, job.need(self._jobs.names)), view)
        pause_ms = int((job.pause_until_s - time.monotonic()) * 1000)
        return None if found is None else max(found, pause_ms)

    def of_new(self, spec: JobSpec, caller: str, coming: Sequence[JobSpec], view: View) -> Outlook:
        """Return what a new job of ``caller`` would have before it.

        Args:
            coming: jobs that were accepted and are not in the queue yet.
        """
        queue, need = self._jobs.queue, need_of(spec, self._jobs.names)
        rank = queue.next_rank(spec.priority, share_of(caller, spec))
        sooner = [each for each in coming if spec.priority is Priority.BATCH or each.priority is not Priority.BATCH]
        rivals = [each for each in sooner if _rival(need_of(each, self._jobs.names), need)]
        ahead, asked = self._before(rank, need)
        ahead += len(rivals)
        return Outlook(
            place=queue.place(rank) + len(sooner),
            at_once=_free(_up(spec, view)) > ahead,
            first=not ahead,
            start_ms=self._start_ms(spec, ahead, [*asked, *map(size_of, rivals[:_ASKED])][:_ASKED], view),
        )

    def next_ms(self, view: View) -> int | None:
        """Return in how many ms the queue will have a place more: when the next that waits may start."""
        head = next(self._jobs.queue.heads(), None)
        return None if head is None else self.of(self._jobs.live[head.job], view)

    def _before(self, rank: Rank, need: Need) -> tuple[int, list[Size]]:
        ahead, some = self._jobs.queue.before(rank, self._rivals(need), _ASKED)
        return ahead, [self._jobs.live[each].size for each in some]

    def _rivals(self, need: Need) -> list[Need]:
        """Return the needs of those who wait for the same workers."""
        return [each for each in self._jobs.queue.depths() if isinstance(each, Need) and _rival(each, need)]

    def _start_ms(self, spec: JobSpec, ahead: int, asked: Sequence[Size], view: View) -> int | None:
        """Args: ahead: how many are, for the same workers; asked: some of them."""
        up = _up(spec, view)
        if _free(up) > ahead:
            return 0
        model = self._jobs.names.canonical(spec.model)
        rate = self._rates.of(model)
        claimed = any((seat.pool, seat.worker.id) in view.claimed for seat in up)
        if (rate is None and (ahead or up)) or claimed:
            return None
        job_ms = sum(rate.job_ms(each) for each in asked) / len(asked) if rate and asked else 0.0
        running = self._errands.remaining_ms({(seat.pool, seat.worker.id) for seat in up}, self._rates, model)
        slots = [*[0.0] * _free(up), *running, *self._loading_ms(spec, job_ms, view)]
        new_ms = None if slots else self._new_ms(spec, view)
        slots = slots if new_ms is None else [new_ms]
        return int(start_ms(slots, ahead, job_ms)) if slots else None

    def _loading_ms(self, spec: JobSpec, job_ms: float, view: View) -> Iterator[float]:
        """Yield when each slot of the workers is free that are starting, or asleep and may be woken."""
        for seat in seats_of(spec, view, {}):
            starting = seat.worker.state is WorkerState.STARTING
            load_ms = self._load_ms(seat, view)
            if load_ms is not None and (starting or (seat.worker.state is WorkerState.ASLEEP and fits(seat, view))):
                yield from [load_ms] * max(0, seat.free)
                yield from [load_ms + job_ms] * min(seat.worker.slots, seat.worker.slots - seat.free)

    def _load_ms(self, seat: Seat, view: View) -> float | None:
        worker, pool = seat.worker, view.fleet.find(seat.pool)
        file = view.fleet.file(seat.pool, self._jobs.names.canonical(worker.model))
        need = None if file is None else view.fleet.need(seat.pool, file, worker.backend)
        load_ms = worker.load_ms or (need.load_ms if need else None)
        if load_ms is None or pool is None or pool.snapshot is None:
            return None
        since_ms = worker.since_ms if worker.state is WorkerState.STARTING else None
        loaded_ms = 0 if since_ms is None else pool.snapshot.at_ms - since_ms
        return float(max(0, load_ms - max(0, loaded_ms)))

    def _new_ms(self, spec: JobSpec, view: View) -> float | None:
        """Return when a new worker is up: one that is begun, else the soonest there is memory for."""
        rooms = places.search(spec, view).rooms
        begun = [room for room in rooms if room.place in view.spawning]
        found = (self._ready_ms(room, view) for room in begun or rooms if not room.taken)
        return min((each for each in found if each is not None), default=None)

    def _ready_ms(self, room: Room, view: View) -> float | None:
        if room.load_ms is None:
            return None
        if room.place in view.spawning:
            return max(0.0, room.load_ms - self._spawner.elapsed_ms(room.place))
        cleared_ms = 0.0 if room.fits else self._cleared_ms(room, view)
        return None if cleared_ms is None else cleared_ms + room.load_ms

    def _cleared_ms(self, room: Room, view: View) -> float | None:
        """Return when those are done who have the memory of ``room``; None where nobody knows, or they never will."""
        if room.total < room.need or clearing.victims_for(room, view):
            return None if room.total < room.need else 0.0
        found = [self._done_ms(kept, view) for kept in clearing.keepers(room, view)]
        known = [each for each in found if each is not None]
        return max(known) if known and len(known) == len(found) else None

    def _done_ms(self, kept: Keeper, view: View) -> float | None:
        if kept.until_s is not None:
            return max(0.0, kept.until_s - view.now_s) * 1000
        worker = view.fleet.worker(kept.pool, kept.worker)
        if worker is None or worker.pinned:
            return None
        model = self._jobs.names.canonical(worker.model)
        return max(self._errands.remaining_ms({(kept.pool, kept.worker)}, self._rates, model), default=None)


def _up(spec: JobSpec, view: View) -> Sequence[Seat]:
    return [seat for seat in seats_of(spec, view, {}) if seat.worker.state in (WorkerState.READY, WorkerState.BUSY)]


def _free(seats: Sequence[Seat]) -> int:
    return sum(max(0, seat.free) for seat in seats)


def _rival(some: Need, other: Need) -> bool:
    """Say whether two needs may be answered by the same worker."""
    return some.model == other.model and _overlap(some.placement, other.placement)


def _overlap(some: Placement, other: Placement) -> bool:
    pairs = ((some.pool, other.pool), (some.backend, other.backend), (some.gpu, other.gpu))
    return all(one is None or two is None or one == two for one, two in pairs)
