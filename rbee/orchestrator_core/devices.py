"""Whose memory is meant: the host's, or that of one GPU of one vendor. Drivers number their own GPUs only."""

from typing import TypeAlias

from rbee.wire.pools import VENDORS, Device
from rbee.wire.workers import Backend, WorkerStatus

DeviceKey: TypeAlias = tuple[str, int] | None
"""Vendor and index; None: the host's memory."""

_FIRST = "nvidia"
"""Whose GPUs they are where a pool does not say: older ones knew no others."""

_OF_BACKEND = {backend: tuple(vendor for vendor, able in VENDORS.items() if backend in able) for backend in Backend}


def key_of(device: Device) -> DeviceKey:
    """Return which device of its pool it is."""
    return None if device.gpu is None else (device.vendor or _FIRST, device.gpu)


def keys_of(worker: WorkerStatus) -> tuple[DeviceKey, ...]:
    """Return the devices a worker's memory is on; with Vulkan, which knows all vendors, that of each by its number."""
    return tuple(key for gpu in gpus_of(worker) for key in keys_at(worker.backend, gpu))


def keys_at(backend: Backend, gpu: int | None) -> tuple[DeviceKey, ...]:
    """Return what ``gpu`` means to ``backend``."""
    if gpu is None or backend is Backend.CPU:
        return (None,)
    return tuple((vendor, gpu) for vendor in _OF_BACKEND[backend] or (_FIRST,))


def gpus_of(worker: WorkerStatus) -> tuple[int | None, ...]:
    """Return the numbers of the GPUs a worker's memory is on; the host's is None."""
    return worker.gpus or (worker.gpu,)


def share(worker: WorkerStatus, device: DeviceKey = None) -> int:
    """Return what a worker takes of one of its devices; without naming that, of each on average."""
    gpus = gpus_of(worker)
    if device is None or device[1] not in gpus or len(worker.split) != len(gpus):
        return worker.need_bytes // len(gpus)
    return worker.need_bytes * worker.split[gpus.index(device[1])] // sum(worker.split)
