"""What is known when deciding: the fleet, and what the queen herself has begun and remembers."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from rbee.orchestrator_core.devices import DeviceKey, gpus_of, key_of, keys_of, share
from rbee.orchestrator_core.fleet import HOLDING, Fleet
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.rooms import Place
from rbee.wire.jobs import Placement
from rbee.wire.pools import PoolState

Key: TypeAlias = tuple[str, str]
"""Pool and worker."""


@dataclass(frozen=True, slots=True)
class Use:
    """When a worker was last given a job or freed of one, on the monotonic clock, and whether that was a batch job."""

    at_s: float
    batch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a job waits for that nobody behind it in the line may have.

    Args:
        model: the job's, in its canonical spelling.
        workers: who has to go for it once his work is done.
        devices: pool and device of the memory it needs.
    """

    model: str
    workers: frozenset[Key]
    devices: frozenset[tuple[str, DeviceKey]]


@dataclass(frozen=True, kw_only=True)
class View:
    """One moment.

    Args:
        in_flight: how many of our jobs each worker has.
        used: of workers that had a job, as far as is remembered.
        waiting: canonical model → how many jobs wait for it.
        spawning: places where a worker is being made, and the bytes it will take.
        failed: places where that has failed lately.
        leaving: workers that are being evicted.
        job_ms: canonical model → how long a job of it takes; absent: nothing is known.
        settling: the queen has just started, and pools she knows have not spoken yet.
        claims: of jobs that are before the one in question.
    """

    fleet: Fleet
    now_s: float = 0.0
    in_flight: Mapping[Key, int] = field(default_factory=dict)
    used: Mapping[Key, Use] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    spawning: Mapping[Place, int] = field(default_factory=dict)
    failed: Collection[Place] = frozenset()
    leaving: Collection[Key] = frozenset()
    job_ms: Mapping[str, float] = field(default_factory=dict)
    strategy: str = "least-loaded"
    settling: bool = False
    claims: tuple[Claim, ...] = ()

    @cached_property
    def claimed(self) -> Mapping[Key, str]:
        """Return the workers that get nothing more, and the model that comes first."""
        return {key: claim.model for claim in self.claims for key in claim.workers}

    @cached_property
    def kept(self) -> Mapping[tuple[str, DeviceKey], str]:
        """Return the devices whose memory is kept, and for which model."""
        return {device: claim.model for claim in self.claims for device in claim.devices}

    @cached_property
    def promised(self) -> Counter[tuple[str, DeviceKey]]:
        """Return the bytes of each device that somebody will take and no snapshot shows yet."""
        found: Counter[tuple[str, DeviceKey]] = Counter()
        for place, need_bytes in self.spawning.items():
            if not self._has_come_up(place):
                for device, part in self._parts(place, need_bytes):
                    found[place.pool, device] += part
        for pool, status in self.fleet.asleep():
            if self.in_flight.get((pool, status.id)):
                for device in keys_of(status, self.fleet.devices(pool)):
                    found[pool, device] += share(status, device)
        return found

    @cached_property
    def promising(self) -> Collection[str]:
        """Return the pools of which something is promised."""
        return {pool for pool, _ in self.promised}

    @cached_property
    def working(self) -> Set[Key]:
        """Return the workers that have some of our jobs."""
        jobs = self.in_flight
        return jobs.keys() if all(jobs.values()) else {key for key, count in jobs.items() if count}

    @cached_property
    def busy(self) -> Counter[str]:
        """Return how many of our jobs run at each pool."""
        found: Counter[str] = Counter()
        for (pool, _), jobs in self.in_flight.items():
            found[pool] += jobs
        return found

    @cached_property
    def pool_used_s(self) -> Mapping[str, float]:
        """Return when each pool was last given a job or freed of one."""
        found: dict[str, float] = {}
        for (pool, _), use in self.used.items():
            found[pool] = max(use.at_s, found.get(pool, use.at_s))
        return found

    def idle_s(self, key: Key) -> float:
        """Return how long ``key`` has had no job; for ever, when none is remembered."""
        use = self.used.get(key)
        return float("inf") if use is None else max(0.0, self.now_s - use.at_s)

    def _parts(self, place: Place, need_bytes: int) -> Sequence[tuple[DeviceKey, int]]:
        """Return what is taken of its device; of all of its kind, where it is split or the pool is to choose."""
        able = [device for device in self.fleet.devices(place.pool) if place.backend in device.backends]
        if place.gpu is not None:
            return [(key_of(device), need_bytes) for device in able if device.gpu == place.gpu]
        able = [device for device in able if not device.problem]
        return [(key_of(device), need_bytes // len(able)) for device in able]

    def _has_come_up(self, place: Place) -> bool:
        return any(
            worker.backend is place.backend and place.gpu in (None, *gpus_of(worker))
            for worker in self.fleet.workers_at(place.pool, place.model)
            if worker.state in HOLDING
        )


def is_open(pool: PoolView, wanted: Placement) -> bool:
    """Say whether a job placed so may go to ``pool``: it is ready, or is tried while it drains."""
    if wanted.pool not in (None, pool.id):
        return False
    return pool.state is PoolState.READY or (wanted.draining and pool.state is PoolState.DRAINING)
