"""What a GPU inventory says: which GPU fits, and which backends there are."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from rbee.errors import BackendUnavailable, GpuTooHot, InsufficientVram
from rbee.pool_core.memory import DEVICE_CONTEXT_BYTES
from rbee.pool_core.wrong import wrong
from rbee.wire.pools import Device, Gpu, GpuInventory
from rbee.wire.words import bytes_text
from rbee.wire.workers import Backend

CPU_BACKENDS = frozenset({Backend.CPU})


OLDEST_CAPABILITY = (5, 0)
"""Of CUDA GPUs, what llama.cpp is built for (ggml-cuda/CMakeLists.txt)."""


def heeding(inventory: GpuInventory, limit_c: int) -> GpuInventory:
    """Return the inventory with the GPUs marked that are too old, or hotter than ``limit_c``; 0 is no limit."""
    gpus = (_too_hot(gpu, limit_c) if _is_hot(gpu, limit_c) else gpu for gpu in inventory.gpus)
    return dataclasses.replace(inventory, gpus=tuple(_too_old(gpu) if _is_old(gpu) else gpu for gpu in gpus))


def _is_old(gpu: Gpu) -> bool:
    major, _, minor = gpu.compute_capability.partition(".")
    told = major.isdigit() and minor.isdigit() and gpu.vendor == "nvidia" and not gpu.problem
    return told and (int(major), int(minor)) < OLDEST_CAPABILITY


def _too_old(gpu: Gpu) -> Gpu:
    least = ".".join(map(str, OLDEST_CAPABILITY))
    sentence = f"its compute capability is {gpu.compute_capability}, llama.cpp wants at least {least}"
    return dataclasses.replace(gpu, problem=sentence)


def _is_hot(gpu: Gpu, limit_c: int) -> bool:
    return bool(limit_c) and not gpu.problem and gpu.temperature_c is not None and gpu.temperature_c > limit_c


def _too_hot(gpu: Gpu, limit_c: int) -> Gpu:
    sentence = f"it is {gpu.temperature_c} °C hot, no worker is started above {limit_c} ([pool] gpu_limit_c)"
    return dataclasses.replace(gpu, hot=True, problem=sentence)


def backends(found: GpuInventory) -> tuple[Backend, ...]:
    """Return what workers can run on now. The CPU is tried whatever the files are called."""
    usable = {build.name for build in found.builds if not build.problem}
    return (Backend.CPU, *(each for each in Backend if each is not Backend.CPU and each in usable))


def require_backend(wanted: Backend, available: Collection[Backend], inventory: GpuInventory) -> None:
    """Refuse a backend this host cannot do. There is no falling back to the CPU.

    Raises:
        BackendUnavailable: names those there are.
    """
    if wanted in available:
        return
    names = sorted(str(backend) for backend in available)
    why = why_not(wanted, inventory)
    raise BackendUnavailable(
        f"backend {wanted} is not available on this host{f': {why}' if why else ''}",
        hint=f"ask for one of: {', '.join(names)}",
        details={"backend": str(wanted), "available": names},
    )


def why_not(wanted: Backend, inventory: GpuInventory) -> str:
    """Return what stands between a worker and a backend, as gpu status says it; empty where nobody knows."""
    said = next((build.problem for build in inventory.builds if build.name == wanted), "")
    return said or (inventory.reason if wanted is Backend.CUDA else "")


def no_gpu(wanted: Backend, found: GpuInventory) -> BackendUnavailable:
    """Return the refusal where a backend is there, and no GPU answers."""
    why = f": {found.reason}" if found.reason else ""
    return BackendUnavailable(
        f"no GPU for backend {wanted} answers on this host{why}",
        hint="rbee-hive gpu status",
        details={"backend": str(wanted), "available": [str(Backend.CPU)]},
    )


def choose_gpus(
    wanted: int | None,
    needed: int,
    lines: Sequence[Device],
    *,
    layer_bytes: int = 0,
    further_bytes: int = DEVICE_CONTEXT_BYTES,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the GPU asked for, else the fullest one that still has ``needed`` bytes, else few that have them together.

    With several comes how many percent each takes, by what it has free.

    Args:
        layer_bytes: a model is split between two layers, not in one; so much is left free on each GPU.
        further_bytes: what each GPU after the first takes besides its part of the model.

    Raises:
        InvalidRequest: there is no GPU of that index.
        GpuTooHot: it, or all of them, have to cool down first.
        InsufficientVram: it, or all of them, have less free.
    """
    gpus = {line.gpu: line for line in lines if line.gpu is not None and wanted in (None, line.gpu)}
    if gpus and all(line.hot for line in gpus.values()):
        raise _all_hot(gpus)
    if not gpus:
        there = ", ".join(str(line.gpu) for line in lines) or "none"
        raise wrong("gpu", f"is {wanted}, expected one of: {there}", hint="rbee-hive gpu status")
    roomy = [(line.free_bytes, gpu) for gpu, line in gpus.items() if line.free_bytes >= needed]
    if roomy:
        return (min(roomy)[1],), ()
    together = _together(gpus, needed, layer_bytes, further_bytes) if wanted is None else {}
    if not together:
        raise _too_full(gpus, needed, split=wanted is None)
    room = sum(together.values())
    return tuple(together), tuple(max(1, round(100 * free / room)) for free in together.values())


def _all_hot(gpus: Mapping[int, Device]) -> GpuTooHot:
    told = "; ".join(f"gpu {gpu}: {line.problem}" for gpu, line in gpus.items())
    return GpuTooHot(told, hint="rbee-hive gpu status; try again when it has cooled down", details={"gpus": list(gpus)})


def _together(gpus: Mapping[int, Device], needed: int, layer_bytes: int, further_bytes: int) -> Mapping[int, int]:
    """Return what may be used of the roomiest GPUs that suffice together; each after the first takes more."""
    chosen: dict[int, int] = {}
    for gpu, line in sorted(gpus.items(), key=lambda each: (-each[1].free_bytes, each[0])):
        chosen[gpu] = max(0, line.free_bytes - layer_bytes)
        if len(chosen) > 1 and sum(chosen.values()) >= needed + (len(chosen) - 1) * further_bytes:
            return dict(sorted(chosen.items())) if min(chosen.values()) > 0 else {}
    return {}


def _too_full(gpus: Mapping[int, Device], needed: int, *, split: bool) -> InsufficientVram:
    best = max(gpus.values(), key=lambda line: line.free_bytes)
    problem = f": {best.problem}" if best.problem else ""
    hot = "".join(f"; gpu {gpu}: {line.problem}" for gpu, line in gpus.items() if line.hot and line is not best)
    users = f"others use {bytes_text(best.foreign_bytes)}, workers {bytes_text(best.reserved_bytes)}"
    all_free = sum(line.free_bytes for line in gpus.values())
    together = f", all {len(gpus)} together {bytes_text(all_free)}" if split and all_free > best.free_bytes else ""
    return InsufficientVram(
        f"gpu {best.gpu} has {bytes_text(best.free_bytes)} free{together}, {bytes_text(needed)} are needed"
        + (problem or f" ({users})")
        + hot,
        details={
            "needed_bytes": needed,
            "free_bytes": best.free_bytes,
            "gpu": best.gpu,
            "foreign_bytes": best.foreign_bytes,
            "reserved_bytes": best.reserved_bytes,
        },
    )
