"""What both command lines say of a pool as it says itself."""

from collections.abc import Mapping
from typing import Any

from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.cli.workers import WORKER_COLUMNS
from rbee.wire import codec
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import Device, Gpu, GpuInventory, GpuProcess, PoolSnapshot
from rbee.wire.words import bytes_text, counted

GPU_COLUMNS = (
    Column("GPU", "index", right=True),
    Column("NAME", "name"),
    Column("MEMORY", "memory"),
    Column("LOAD", "utilisation_percent", "{} %".format, right=True),
    Column("TEMP", "temperature_c", "{} °C".format, right=True),
    Column("POWER", "power", right=True),
    Column("PCI", "pci"),
    Column("STATUS", "status"),
)
USER_COLUMNS = (
    Column("GPU", "gpu", right=True),
    Column("PID", "pid", right=True),
    Column("MEMORY", "memory_bytes", bytes_text, right=True),
    Column("WHO", "who"),
)
_BAR = 10


def parse_deadline(args: Args) -> float | None:
    """Return what ``--deadline`` says, in seconds. Raises InvalidRequest."""
    given = args.get("--deadline")
    return None if given is None else parse_seconds(given, "--deadline")


def show_state(state: PoolSnapshot, output: Output) -> None:
    """Show a pool with its workers."""
    host = state.host
    gpus = ", ".join(gpu.name for gpu in state.gpus.gpus) or f"none: {state.gpus.reason}"
    output.facts(
        state,
        {
            "pool": state.id,
            "state": "draining" if state.draining else "ready",
            "address": state.url,
            "version": state.version,
            "cpus": host.cpus,
            "memory": f"{bytes_text(host.memory_available_bytes)} available of {bytes_text(host.memory_total_bytes)}",
            "disk": f"{bytes_text(host.disk_free_bytes)} free for models",
            "gpus": gpus,
            "ledger": "\n".join(_device(device) for device in state.devices),
            "backends": ", ".join(state.backends),
            "models": ", ".join(_model(model) for model in state.models) or "none",
        },
    )
    if not output.as_json:
        output.text("\n")
        output.table(state.workers, WORKER_COLUMNS, none="no workers")


def _device(device: Device) -> str:
    """Return a line of the ledger."""
    name = "memory" if device.gpu is None else f"gpu {device.gpu}"
    if device.problem:
        return f"{name}: nothing, {device.problem}"
    ours = f"workers have {bytes_text(device.reserved_bytes)}, others {bytes_text(device.foreign_bytes)}"
    return f"{name}: {bytes_text(device.free_bytes)} free; {ours}"


def _model(model: ModelFile) -> str:
    return f"{model.id} (held in memory)" if model.cached else model.id


def state_line(state: PoolSnapshot) -> str:
    """Return a pool in one line, for where several hosts are asked."""
    memory = bytes_text(state.host.memory_available_bytes)
    things = ((state.workers, "worker"), (state.models, "model"), (state.gpus.gpus, "GPU"))
    counts = ", ".join(counted(len(each), noun) for each, noun in things)
    return f"{'draining' if state.draining else 'ready'}, {counts}, {memory} available, version {state.version}"


def show_gpus(inventory: GpuInventory, output: Output) -> None:
    """Show a host's GPUs and who uses them, or why there are none."""
    if output.as_json:
        output.facts(inventory, {})
        return
    output.table([_gpu_row(gpu) for gpu in inventory.gpus], GPU_COLUMNS, none=f"no GPUs: {inventory.reason}")
    users = [_user_row(gpu, process) for gpu in inventory.gpus for process in gpu.processes]
    if users:
        output.text("\n")
        output.table(users, USER_COLUMNS, none="")


def _gpu_row(gpu: Gpu) -> Mapping[str, Any]:
    return {
        **codec.plain(gpu),
        "name": gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce "),
        "pci": gpu.pci.removeprefix("0000").lower(),
        "memory": _memory(gpu.memory_used_bytes, gpu.memory_total_bytes),
        "power": _power(gpu),
        "status": _status(gpu),
    }


def _memory(used: int, total: int) -> str:
    """Return ``████░░░░░░  9.6 of 24.0 GiB``."""
    if not total:
        return ""
    filled = round(_BAR * used / total)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {used / (1 << 30):5.1f} of {bytes_text(total)}"


def _power(gpu: Gpu) -> str:
    if gpu.power_w is None:
        return ""
    limit = "" if gpu.power_limit_w is None else f" of {gpu.power_limit_w:.0f}"
    return f"{gpu.power_w:.0f}{limit} W"


def _status(gpu: Gpu) -> str:
    """Return what is wrong with a GPU; "ok" when nothing is."""
    wrong = [
        gpu.problem,
        f"XID {gpu.xid}: dmesg | grep -i xid" if gpu.xid is not None else "",
        f"{counted(gpu.ecc_errors, 'memory error')} not corrected" if gpu.ecc_errors else "",
    ]
    return "; ".join(filter(None, wrong)) or "ok"


def _user_row(gpu: Gpu, process: GpuProcess) -> Mapping[str, Any]:
    who = f"{process.worker} (ours)" if process.worker else process.name
    return {"gpu": gpu.index, "pid": process.pid, "memory_bytes": process.memory_bytes, "who": who}


def gpus_line(inventory: GpuInventory) -> str:
    """Return the GPUs of a host in one line."""
    if not inventory.gpus:
        return f"no GPUs: {inventory.reason}"
    return "; ".join(
        f"{gpu.index}: {gpu.name}, {bytes_text(gpu.memory_free_bytes)} of {bytes_text(gpu.memory_total_bytes)} free"
        for gpu in inventory.gpus
    )
