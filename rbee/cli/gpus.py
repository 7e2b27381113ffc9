"""What both command lines say of a host's GPUs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbee.cli.output import Column, Output
from rbee.wire import codec
from rbee.wire.pools import Gpu, GpuInventory, GpuProcess
from rbee.wire.words import bytes_text, counted

GPU_COLUMNS = (
    Column("GPU", "gpu", right=True),
    Column("NAME", "name"),
    Column("USED", "used"),
    Column("MEMORY", "memory", right=True),
    Column("FREE", "free", bytes_text, right=True),
    Column("LOAD", "utilisation_percent", "{} %".format, right=True),
    Column("TEMP", "temperature_c", "{} °C".format, right=True),
    Column("POWER", "power", right=True),
    Column("PCI", "pci"),
    Column("CC", "compute_capability", right=True),
    Column("STATUS", "status"),
)
_ROOMY = 120
"""Columns of a terminal that has room for all of them."""
_LEFT_OUT = ("USED", "PCI", "CC")
USER_COLUMNS = (
    Column("GPU", "gpu", right=True),
    Column("PID", "pid", right=True),
    Column("MEMORY", "memory_bytes", bytes_text, right=True),
    Column("WHO", "who"),
)
BUILD_COLUMNS = (
    Column("BACKEND", "name"),
    Column("BUILT IN", "carried", lambda carried: "yes" if carried else "no"),
    Column("WHY NOT", "problem"),
)
_BAR = 10


def show_gpus(inventory: GpuInventory, output: Output) -> None:
    """Show a host's GPUs, what is wrong with them and who uses them, or why there are none."""
    if output.as_json:
        output.facts(inventory, {})
        return
    labels = _labels(inventory)
    columns = [column for column in GPU_COLUMNS if output.width >= _ROOMY or column.heading not in _LEFT_OUT]
    rows = [{**_gpu_row(gpu), "gpu": label} for label, gpu in labels]
    output.table(rows, columns, none=f"no GPUs: {inventory.reason}")
    for label, gpu in labels:
        for sentence in _problems(gpu):
            output.text(f"gpu {label}: {sentence}\n")
    users = [{**_user_row(process), "gpu": label} for label, gpu in labels for process in gpu.processes]
    if users:
        output.text("\n")
        output.table(users, USER_COLUMNS, none="")
    if inventory.builds:
        output.text("\n")
        output.table(inventory.builds, BUILD_COLUMNS, none="")


def _labels(inventory: GpuInventory) -> Sequence[tuple[str, Gpu]]:
    """Return each GPU with what to call it: its number, and its vendor where numbers are not unique."""
    several = len({gpu.vendor for gpu in inventory.gpus}) > 1
    return [(f"{gpu.vendor} {gpu.index}" if several else str(gpu.index), gpu) for gpu in inventory.gpus]


def _gpu_row(gpu: Gpu) -> Mapping[str, Any]:
    return {
        **codec.plain(gpu),
        "name": _name(gpu),
        "pci": _pci(gpu.pci),
        "used": _bar(gpu.memory_used_bytes, gpu.memory_total_bytes),
        "memory": _of(gpu.memory_used_bytes, gpu.memory_total_bytes),
        "free": None if gpu.problem and not gpu.hot else gpu.memory_free_bytes,
        "power": _power(gpu),
        "status": _status(gpu),
    }


def _name(gpu: Gpu) -> str:
    """Return the name without what the row says anyway: the vendor, and of an instance the GPU it is part of."""
    instance = gpu.name.find("MIG ") if gpu.parent is not None else -1
    if instance > 0:
        return gpu.name[instance:]
    return gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ").removeprefix("AMD ")


def _pci(address: str) -> str:
    """NVML writes a domain of eight digits, the kernel and lspci one of four."""
    return address.removeprefix("0000").lower() if len(address.partition(":")[0]) > len("0000") else address.lower()


def _bar(used: int, total: int) -> str:
    """Return ``████░░░░░░  40 %``."""
    if not total:
        return ""
    filled = min(_BAR, round(_BAR * used / total))
    return f"{'█' * filled}{'░' * (_BAR - filled)} {100 * used / total:3.0f} %"


def _of(used: int, total: int) -> str:
    """Return ``9.6/24.0 GiB``: both in the unit of the total, as one compares them."""
    if not total:
        return ""
    number, unit = bytes_text(total).split()
    return f"{used / total * float(number):.1f}/{number} {unit}"


def _power(gpu: Gpu) -> str:
    if gpu.power_w is None:
        return ""
    limit = "" if gpu.power_limit_w is None else f"/{gpu.power_limit_w:.0f}"
    return f"{gpu.power_w:.0f}{limit} W"


def _status(gpu: Gpu) -> str:
    """Return in a word what is wrong with a GPU; ``_problems`` has the sentences."""
    if gpu.parent is not None:
        return f"part of {gpu.parent}"
    if gpu.problem:
        return "divided" if gpu.mig else "hot" if gpu.hot else "failed"
    if gpu.xid is not None:
        return f"XID {gpu.xid}"
    return "errors" if gpu.ecc_errors else "ok"


def _problems(gpu: Gpu) -> Iterator[str]:
    if gpu.problem and gpu.parent is None:
        yield gpu.problem
    if gpu.xid is not None:
        yield f"XID {gpu.xid}: dmesg | grep -i xid"
    if gpu.ecc_errors:
        yield f"{counted(gpu.ecc_errors, 'memory error')} not corrected"


def _user_row(process: GpuProcess) -> Mapping[str, Any]:
    who = f"{process.worker} (ours)" if process.worker else process.name
    return {"pid": process.pid, "memory_bytes": process.memory_bytes, "who": who}


def gpus_line(inventory: GpuInventory) -> str:
    """Return the GPUs of a host in one line."""
    if not inventory.gpus:
        return f"no GPUs: {inventory.reason}"
    return "; ".join(f"{label}: {gpu.name}, {_room(gpu)}" for label, gpu in _labels(inventory))


def _room(gpu: Gpu) -> str:
    if gpu.problem:
        return _status(gpu)
    return f"{bytes_text(gpu.memory_free_bytes)} of {bytes_text(gpu.memory_total_bytes)} free"
