"""What the devices of a pool offer a model, by the pool's own word. Worked out once for each snapshot, by the fleet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rbee.orchestrator_core.devices import DeviceKey, is_on, key_of
from rbee.orchestrator_core.holders import NOBODY, Holders
from rbee.wire.pools import Device, Need
from rbee.wire.workers import Backend, WorkerStatus


@dataclass(frozen=True, slots=True)
class Place:
    """One device of one pool; ``gpu`` is None for the CPU, and where the pool is to choose or to split.

    ``model`` is in its canonical spelling. Equal places mean the same need: one spawn answers it.
    """

    pool: str
    model: str
    backend: Backend
    gpu: int | None = None


def place_text(place: Place) -> str:
    """Return ``gpu 0 of blep``, ``the GPUs of blep``, ``blep``."""
    if place.backend is Backend.CPU:
        return place.pool
    return f"the GPUs of {place.pool}" if place.gpu is None else f"gpu {place.gpu} of {place.pool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place with its memory in bytes; ``file`` is what its pool calls the model.

    Args:
        taken: a worker of this model is there already; a second one would only share the device with it.
        devices: what it consists of; several, where one is too small.
        holders: who has memory there now.
    """

    place: Place
    file: str
    need: int
    free: int
    total: int
    load_ms: int | None = None
    taken: bool = False
    devices: tuple[Device, ...] = ()
    holders: Holders = NOBODY

    @property
    def keys(self) -> Sequence[DeviceKey]:
        """Whose memory it is."""
        return [key_of(device) for device in self.devices]

    @property
    def fits(self) -> bool:
        return self.free >= self.need and not self.taken

    @property
    def lacking(self) -> int:
        return max(0, self.need - self.free)


def offers(
    place: Place,
    need: Need,
    devices: Sequence[Device],
    there: Sequence[WorkerStatus],
    holders: Mapping[DeviceKey, Holders],
) -> Iterator[Room]:
    """Yield each of ``devices``, and all of them together where each is too small.

    Args:
        place: with no device yet.
        devices: those of the place's backend that a worker can be put on.
        there: workers of the model at that pool.
        holders: who has memory at that pool, by device.
    """
    mine = [worker for worker in there if worker.backend is place.backend]
    taken = {device.gpu for device in devices if any(is_on(worker, device) for worker in mine)}
    for device in devices:
        alone = Place(place.pool, place.model, place.backend, device.gpu)
        yield _room(alone, need, (device,), device.gpu in taken, holders)
    if len(devices) > 1 and all(device.total_bytes < need.bytes for device in devices):
        yield _room(place, need, tuple(devices), bool(taken), holders)


def _room(
    place: Place, need: Need, devices: tuple[Device, ...], taken: bool, holders: Mapping[DeviceKey, Holders]
) -> Room:
    return Room(
        place=place,
        file=need.model,
        need=need.bytes,
        free=sum([max(0, device.free_bytes) for device in devices]),
        total=sum([device.total_bytes for device in devices]),
        load_ms=need.load_ms,
        taken=taken,
        devices=devices,
        holders=holders.get(key_of(devices[0]), NOBODY) if len(devices) == 1 else NOBODY,
    )
