"""What both command lines say of a pool as it says itself."""

from rbee.cli.output import Column, Output
from rbee.cli.workers import WORKER_COLUMNS
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import GpuInventory, PoolSnapshot
from rbee.wire.words import bytes_text, counted

GPU_COLUMNS = (
    Column("GPU", "index", right=True),
    Column("NAME", "name"),
    Column("USED", "memory_used_bytes", bytes_text, right=True),
    Column("FREE", "memory_free_bytes", bytes_text, right=True),
    Column("TOTAL", "memory_total_bytes", bytes_text, right=True),
    Column("LOAD", "utilisation_percent", "{} %".format, right=True),
    Column("TEMP", "temperature_c", "{} °C".format, right=True),
    Column("POWER", "power_w", "{:.0f} W".format, right=True),
    Column("PCI", "pci"),
)


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
            "backends": ", ".join(state.backends),
            "models": ", ".join(_model(model) for model in state.models) or "none",
        },
    )
    if not output.as_json:
        output.text("\n")
        output.table(state.workers, WORKER_COLUMNS, none="no workers")


def _model(model: ModelFile) -> str:
    return f"{model.id} (held in memory)" if model.cached else model.id


def state_line(state: PoolSnapshot) -> str:
    """Return a pool in one line, for where several hosts are asked."""
    memory = bytes_text(state.host.memory_available_bytes)
    things = ((state.workers, "worker"), (state.models, "model"), (state.gpus.gpus, "GPU"))
    counts = ", ".join(counted(len(each), noun) for each, noun in things)
    return f"{'draining' if state.draining else 'ready'}, {counts}, {memory} available, version {state.version}"


def show_gpus(inventory: GpuInventory, output: Output) -> None:
    """Show a host's GPUs, or why there are none."""
    if output.as_json:
        output.facts(inventory, {})
    else:
        output.table(inventory.gpus, GPU_COLUMNS, none=f"no GPUs: {inventory.reason}")


def gpus_line(inventory: GpuInventory) -> str:
    """Return the GPUs of a host in one line."""
    if not inventory.gpus:
        return f"no GPUs: {inventory.reason}"
    return "; ".join(
        f"{gpu.index}: {gpu.name}, {bytes_text(gpu.memory_free_bytes)} of {bytes_text(gpu.memory_total_bytes)} free"
        for gpu in inventory.gpus
    )
