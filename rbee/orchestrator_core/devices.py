"""Whose memory is meant: the host's, or that of one GPU of one vendor. Drivers number their own GPUs only."""

from collections.abc import Sequence
from typing import TypeAlias

from rbee.wire.pools import Device
from rbee.wire.workers import WorkerStatus

DeviceKey: TypeAlias = tuple[str, int] | None
"""Vendor and index; None: the host's memory."""


def key_of(device: Device) -> DeviceKey:
    """Return which device of its pool it is."""
    return None if device.gpu is None else (device.vendor, device.gpu)


def is_on(worker: WorkerStatus, device: Device) -> bool:
    """Say whether a worker's memory is there, or will be; of GPUs of one number it is on the one that can run it."""
    return device.gpu in gpus_of(worker) and worker.backend in device.backends


def keys_of(worker: WorkerStatus, devices: Sequence[Device]) -> Sequence[DeviceKey]:
    """Return which of its pool's ``devices`` a worker's memory is on."""
    return [key_of(device) for device in devices if is_on(worker, device)]


def gpus_of(worker: WorkerStatus) -> tuple[int | None, ...]:
    """Return the numbers of the GPUs a worker's memory is on; the host's is None."""
    return worker.gpus or (worker.gpu,)


def share(worker: WorkerStatus, device: DeviceKey = None) -> int:
    """Return what a worker takes of one of its devices; without naming that, of each on average."""
    gpus = gpus_of(worker)
    if device is None or device[1] not in gpus or len(worker.split) != len(gpus):
        return worker.need_bytes // len(gpus)
    return worker.need_bytes * worker.split[gpus.index(device[1])] // sum(worker.split)
