"""All pools at one moment, found by what they have, so that a decision looks only at those it concerns."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rbee.orchestrator_core.devices import DeviceKey
from rbee.orchestrator_core.holders import NOBODY, Holders, holders_of
from rbee.orchestrator_core.names import Names, mixed
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.rooms import Place, Room, offers
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.mixes import PLUS, is_mix
from rbee.wire.pools import VENDORS, Device, Need, PoolSnapshot
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

SERVING = frozenset({WorkerState.READY, WorkerState.BUSY, WorkerState.ASLEEP, WorkerState.STARTING})
HOLDING = frozenset({WorkerState.READY, WorkerState.BUSY, WorkerState.STARTING, WorkerState.DRAINING})
"""States in which a worker has its memory, or is about to."""

HEADROOM = 1.2
"""A pool that keeps no ledger: a model takes about this many times its file's size once it runs."""


class Fleet:
    """Kept up to date pool by pool; what one says is looked at once, when it says it.

    Args:
        names: brings the names of models to one spelling.
    """

    def __init__(self, names: Names, pools: Iterable[PoolView] = ()) -> None:
        self.names = names
        self._pools: dict[str, PoolView] = {}
        self._workers: dict[str, dict[str, list[WorkerStatus]]] = {}
        self._files: dict[str, dict[str, ModelFile]] = {}
        self._devices: dict[str, tuple[Device, ...]] = {}
        self._needs: dict[str, dict[tuple[str, Backend], Need]] = {}
        self._wanted: dict[str, dict[str, list[Backend]]] = {}
        self._spares: dict[str, list[WorkerStatus]] = {}
        self._asleep: dict[str, list[WorkerStatus]] = {}
        self._holders: dict[str, Mapping[DeviceKey, Holders]] = {}
        self._rooms: dict[str, dict[str, tuple[Room, ...]]] = {}
        self.overdue: set[str] = set()
        """Pools that drain, and whose jobs should be gone."""
        for pool in pools:
            self.put(pool)

    def __len__(self) -> int:
        return len(self._pools)

    @property
    def pools(self) -> Sequence[PoolView]:
        return sorted(self._pools.values(), key=lambda pool: pool.id)

    def put(self, pool: PoolView) -> None:
        """Take ``pool`` as it is now."""
        before = self._pools.get(pool.id)
        if before is None or before.snapshot is not pool.snapshot:
            asked = self._rooms.get(pool.id, {})
            self.drop(pool.id)
            self._pools[pool.id] = pool
            self._index(pool, asked)
        self._pools[pool.id] = pool

    def drop(self, pool: str) -> None:
        if self._pools.pop(pool, None) is None:
            return
        del self._devices[pool], self._needs[pool], self._wanted[pool], self._holders[pool], self._rooms[pool]
        self._spares.pop(pool, None)
        self._asleep.pop(pool, None)
        self.overdue.discard(pool)
        for table in (self._workers, self._files):
            for model in [model for model, having in table.items() if pool in having]:
                del table[model][pool]
                if not table[model]:
                    del table[model]

    def find(self, pool: str) -> PoolView | None:
        return self._pools.get(pool)

    def workers(self, model: str) -> Iterator[tuple[PoolView, WorkerStatus]]:
        """Yield the workers of ``model``, in its canonical spelling, that serve or will."""
        for pool, workers in self._workers.get(model, {}).items():
            view = self._pools[pool]
            for worker in workers:
                yield view, worker

    def workers_at(self, pool: str, model: str) -> Sequence[WorkerStatus]:
        """Return those of one pool."""
        return self._workers.get(model, {}).get(pool, ())

    def files(self, model: str) -> Iterator[tuple[PoolView, ModelFile]]:
        """Yield who has the file of ``model``, and what it is called there; with adapters, who has all of them."""
        if PLUS in model and is_mix(model):
            for pool in self._files.get(model.split(PLUS, maxsplit=1)[0], {}):
                whole = self.file(pool, model)
                if whole is not None:
                    yield self._pools[pool], whole
            return
        for pool, file in self._files.get(model, {}).items():
            yield self._pools[pool], file

    def file(self, pool: str, model: str) -> ModelFile | None:
        if PLUS in model and is_mix(model):
            return mixed([self._files.get(part, {}).get(pool) for part in model.split(PLUS)])
        return self._files.get(model, {}).get(pool)

    def models(self, kind: ModelKind) -> Sequence[str]:
        """Return the models of that kind that some pool has, in their canonical spelling."""
        there = [file for having in self._files.values() for file in having.values() if file.kind is kind]
        return sorted({self.names.canonical(file.id) for file in there})

    def devices(self, pool: str) -> Sequence[Device]:
        return self._devices.get(pool, ())

    def need(self, pool: str, file: ModelFile, backend: Backend) -> Need:
        """Return what a worker of ``file`` takes there; a pool that does not say gets a guess from the file's size."""
        told = self._needs.get(pool, {}).get((file.id, backend))
        if told is None and is_mix(file.id):
            told = self._need_of_mix(pool, file, backend)
        return told or Need(model=file.id, backend=backend, bytes=int(file.size_bytes * HEADROOM), ctx=0)

    def wanted_backends(self, pool: str, file: ModelFile) -> Collection[Backend]:
        """Return those that a pool tells a need of ``file`` for; nothing where it tells none."""
        return self._wanted.get(pool, {}).get(file.id.split(PLUS, maxsplit=1)[0], ())

    def backends(self, pool: str, file: ModelFile) -> Sequence[Backend]:
        """Return those on which a worker of ``file`` can be made there, and is to be."""
        view, wanted = self._pools.get(pool), self.wanted_backends(pool, file)
        offered = view.snapshot.backends if view and view.snapshot else ()
        return [backend for backend in offered if not wanted or backend in wanted]

    def _need_of_mix(self, pool: str, file: ModelFile, backend: Backend) -> Need | None:
        """Return what the base takes, and the adapters over it."""
        base = self.file(pool, self.names.canonical(file.id.split(PLUS)[0]))
        if base is None:
            return None
        alone = self.need(pool, base, backend)
        return replace(alone, model=file.id, bytes=alone.bytes + file.size_bytes - base.size_bytes)

    def rooms(self, pool: str, file: ModelFile) -> Sequence[Room]:
        """Return what the devices of ``pool`` offer a worker of ``file``, by its last word.

        Worked out when first asked for, and from then on whenever the pool speaks: deciding is not the time for it.
        """
        known = self._rooms[pool].get(file.id)
        if known is None:
            known = self._rooms[pool][file.id] = tuple(self._offered(pool, file))
        return known

    def holders(self, pool: str, device: DeviceKey) -> Holders:
        """Return who has memory on a device, by its pool's last word."""
        return self._holders[pool].get(device, NOBODY) if pool in self._holders else NOBODY

    def worker(self, pool: str, worker: str) -> WorkerStatus | None:
        view = self._pools.get(pool)
        return view.worker(worker) if view else None

    def spares(self) -> Sequence[tuple[str, WorkerStatus]]:
        """Return the workers that were made for a deep queue, with their pools."""
        return [(pool, worker) for pool, workers in self._spares.items() for worker in workers]

    def asleep(self) -> Iterator[tuple[str, WorkerStatus]]:
        """Yield the workers that sleep, with their pools."""
        for pool, workers in self._asleep.items():
            for worker in workers:
                yield pool, worker

    def _offered(self, pool: str, file: ModelFile) -> Iterator[Room]:
        model = self.names.canonical(file.id)
        for backend in self.backends(pool, file):
            devices = [each for each in self._devices[pool] if backend in each.backends and not each.problem]
            need = self.need(pool, file, backend)
            if need.gpu is not None:
                devices = [each for each in devices if each.gpu == need.gpu]
            there = self.workers_at(pool, model)
            yield from offers(Place(pool, model, backend), need, devices, there, self._holders[pool])

    def _index(self, pool: PoolView, asked: Collection[str]) -> None:
        """Args: asked: of which files it was asked before what the pool offers them."""
        self._devices[pool.id], self._needs[pool.id], self._wanted[pool.id] = (), {}, {}
        self._holders[pool.id], self._rooms[pool.id] = {}, {}
        if pool.snapshot is None:
            return
        until_ms = pool.snapshot.drain_until_ms
        if pool.snapshot.draining and until_ms is not None and pool.snapshot.at_ms >= until_ms:
            self.overdue.add(pool.id)
        self._devices[pool.id] = devices_of(pool.snapshot)
        self._holders[pool.id] = holders_of(pool.snapshot, self._devices[pool.id], self.names)
        self._needs[pool.id] = {(need.model, need.backend): need for need in pool.snapshot.needs}
        for need in pool.snapshot.needs:
            self._wanted[pool.id].setdefault(need.model, []).append(need.backend)
        for worker in pool.snapshot.workers:
            if worker.state in SERVING:
                of_model = self._workers.setdefault(self.names.canonical(worker.model), {})
                of_model.setdefault(pool.id, []).append(worker)
        spares = [worker for worker in pool.snapshot.workers if worker.spare]
        asleep = [worker for worker in pool.snapshot.workers if worker.state is WorkerState.ASLEEP]
        if spares:
            self._spares[pool.id] = spares
        if asleep:
            self._asleep[pool.id] = asleep
        for file in pool.snapshot.models:
            for spelling in {self.names.canonical(file.id), self.names.canonical(file.reference)}:
                self._files.setdefault(spelling, {}).setdefault(pool.id, file)
            if file.id in asked:
                self.rooms(pool.id, file)


def devices_of(snapshot: PoolSnapshot) -> tuple[Device, ...]:
    """Return a pool's ledger; where it keeps none, what its inventory says is free."""
    if snapshot.devices:
        return snapshot.devices
    host = snapshot.host
    found = [
        Device(
            backends=(Backend.CPU,), total_bytes=host.memory_total_bytes, free_bytes=host.memory_available_bytes
        )
    ]  # fmt: skip
    others = tuple(backend for backend in snapshot.backends if backend is not Backend.CPU)
    for gpu in snapshot.gpus.gpus:
        found.append(
            Device(
                backends=tuple(backend for backend in others if backend in VENDORS.get(gpu.vendor, others)),
                gpu=gpu.index,
                vendor=gpu.vendor,
                total_bytes=gpu.memory_total_bytes,
                free_bytes=gpu.memory_free_bytes,
            )
        )
    return tuple(found)
