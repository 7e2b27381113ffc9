"""Which pools there are, by what they last said of themselves."""

import dataclasses
from dataclasses import dataclass, field

from rbee.errors import Conflict, NotFound
from rbee.orchestrator_core.fleet import Fleet
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.poolview import PoolView
from rbee.wire.pools import PoolSnapshot, PoolState, PoolStatus
from rbee.wire.workers import WorkerState, WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Whose a pool id is, and where. ``draining`` is the operator's word, kept apart from the pool's own."""

    id: str
    instance: str
    url: str
    version: str
    draining: bool = False


@dataclass(slots=True, kw_only=True)
class _Pool:
    claim: Claim
    snapshot: PoolSnapshot | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    seen_s: float | None = None


class Registry:
    """A pool id belongs to the instance that registered it, until an operator removes it.

    Args:
        lost_after_s: a pool not heard of for longer is lost.
        names: of models.
    """

    def __init__(self, *, lost_after_s: float, names: Names | None = None) -> None:
        self._lost_after_s = lost_after_s
        self._pools: dict[str, _Pool] = {}
        self._fleet = Fleet(names or Names())
        self._stale: set[str] = set()
        self._here: dict[str, float] = {}  # pools that speak, the one that has been silent longest first

    def claimed(self, claim: Claim) -> Claim:
        """Return ``claim`` as it would stand; the operator's word stays.

        Raises:
            Conflict: the id belongs to another instance.
        """
        known = self._pools.get(claim.id)
        if known is None:
            return claim
        if known.claim.instance != claim.instance:
            raise Conflict(
                f"pool {claim.id} belongs to another host, which serves it at {known.claim.url}",
                hint=f"give this host another [pool] id, or rbee-keeper pool remove {claim.id}",
                details={"pool": claim.id, "url": known.claim.url},
            )
        return dataclasses.replace(claim, draining=known.claim.draining)

    def claim(self, pool: str) -> Claim | None:
        known = self._pools.get(pool)
        return known.claim if known else None

    def register(self, claim: Claim) -> None:
        """Note whose the id is. Ask ``claimed`` first."""
        known = self._pools.get(claim.id)
        if known is None:
            self._pools[claim.id] = _Pool(claim=claim)
        else:
            known.claim = claim
        self._stale.add(claim.id)

    def restore(self, pool: str, claim: Claim | None) -> None:
        """Take a registration back that could not be kept."""
        if claim is None:
            self._pools.pop(pool, None)
        else:
            self._pools[pool].claim = claim
        self._stale.add(pool)

    def heartbeat(self, snapshot: PoolSnapshot, now_s: float) -> bool:
        """Take a registered pool's snapshot; say whether anything but numbers changed in it."""
        known = self._known(snapshot.id)
        bare = dataclasses.replace(snapshot, worker_secrets={})
        news = known.snapshot is None or self._lost(known, now_s) or _shape(known.snapshot) != _shape(bare)
        known.snapshot, known.secrets, known.seen_s = bare, dict(snapshot.worker_secrets), now_s
        self._stale.add(snapshot.id)
        self._here.pop(snapshot.id, None)
        self._here[snapshot.id] = now_s
        return news

    def secret(self, pool: str, worker: str) -> str:
        """Return what ``worker`` wants to hear; empty when its pool has not told."""
        known = self._pools.get(pool)
        return known.secrets.get(worker, "") if known else ""

    def remove(self, pool: str) -> None:
        self._known(pool)
        del self._pools[pool]
        self._stale.add(pool)

    def doubt(self, pool: str, worker: str) -> None:
        """Give ``worker`` nothing until its pool speaks of it again: it did not answer. systemd is starting it anew."""
        known = self._pools.get(pool)
        if known is not None and known.snapshot is not None:
            workers = tuple(_doubted(each) if each.id == worker else each for each in known.snapshot.workers)
            known.snapshot = dataclasses.replace(known.snapshot, workers=workers)
            self._stale.add(pool)

    def find(self, pool: str, now_s: float) -> PoolView:
        """Return one pool; raises NotFound."""
        return self._view(pool, self._known(pool), now_s)

    def view(self, now_s: float) -> tuple[PoolView, ...]:
        return tuple(self._view(pool, known, now_s) for pool, known in sorted(self._pools.items()))

    def fleet(self, now_s: float) -> Fleet:
        """Return all pools, indexed. Always the same one: only what has changed since it was last asked for is new."""
        while self._here and now_s - self._here[longest := next(iter(self._here))] > self._lost_after_s:
            del self._here[longest]
            self._stale.add(longest)
        for pool in self._stale:
            known = self._pools.get(pool)
            if known is None:
                self._fleet.drop(pool)
            else:
                self._fleet.put(self._view(pool, known, now_s))
        self._stale.clear()
        return self._fleet

    def rename(self, names: Names) -> None:
        """Take other names of models."""
        self._fleet = Fleet(names)
        self._stale = set(self._pools)

    def _known(self, pool: str) -> _Pool:
        known = self._pools.get(pool)
        if known is None:
            raise NotFound(f"no pool {pool} is registered", hint="rbee-keeper pool list")
        return known

    def _lost(self, known: _Pool, now_s: float) -> bool:
        return known.seen_s is None or now_s - known.seen_s > self._lost_after_s

    def _view(self, pool: str, known: _Pool, now_s: float) -> PoolView:
        draining = known.claim.draining or (known.snapshot is not None and known.snapshot.draining)
        alive = PoolState.DRAINING if draining else PoolState.READY
        return PoolView(
            id=pool,
            state=PoolState.LOST if self._lost(known, now_s) else alive,
            url=known.claim.url,
            version=known.claim.version,
            age_s=None if known.seen_s is None else max(0.0, now_s - known.seen_s),
            snapshot=known.snapshot,
            drained=known.claim.draining,
        )


def status_of(view: PoolView) -> PoolStatus:
    """Return what may be shown of a pool."""
    found = view.snapshot
    return PoolStatus(
        id=view.id,
        state=view.state,
        url=view.url,
        version=view.version,
        last_heartbeat_ms=None if view.age_s is None else int(view.age_s * 1000),
        drain_reason=view.drain_reason,
        drain_until_ms=found.drain_until_ms if found else None,
        why=view.why,
        backends=found.backends if found else (),
        gpus=found.gpus.gpus if found else (),
        host=found.host if found else None,
        workers=workers_of(view),
        models=tuple(model.id for model in found.models) if found else (),
        devices=found.devices if found else (),
    )


def workers_of(view: PoolView) -> tuple[WorkerStatus, ...]:
    """Return the workers as callers are told of them."""
    workers = (dataclasses.replace(worker, pool=view.id) for worker in view.workers)
    if view.state is PoolState.LOST:
        return tuple(dataclasses.replace(worker, state=WorkerState.LOST) for worker in workers)
    return tuple(workers)


def _doubted(worker: WorkerStatus) -> WorkerStatus:
    return dataclasses.replace(worker, state=WorkerState.STARTING, status="did not answer")


def _shape(snapshot: PoolSnapshot) -> tuple[object, ...]:
    """Return what a scheduling decision hangs on, free memory aside."""
    workers = frozenset((w.id, w.state, w.address, w.slots) for w in snapshot.workers)
    drain = (snapshot.draining, snapshot.drain_reason, snapshot.drain_until_ms)
    return workers, frozenset(model.id for model in snapshot.models), drain, snapshot.backends
