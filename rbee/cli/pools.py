"""What both command lines say of a pool as it says itself."""

from collections.abc import Iterator, Sequence

from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.units import parse_float, seconds_text
from rbee.cli.workers import WORKER_COLUMNS
from rbee.wire import codec
from rbee.wire.catalog import ModelFile
from rbee.wire.draining import DrainReason, why_draining
from rbee.wire.pools import Device, DrainSpec, PoolSnapshot
from rbee.wire.words import bytes_text, counted


def parse_deadline(args: Args) -> float | None:
    """Return what ``--deadline`` says, in seconds; 0 is at once. Raises InvalidRequest."""
    given = parse_float(args.get("--deadline"), "--deadline")
    return codec.from_dict(DrainSpec, {"deadline_s": given}).deadline_s


def drain_text(state: PoolSnapshot) -> str:
    """Return why a pool takes no work, and what becomes of what runs; empty when it takes work."""
    if not state.draining:
        return ""
    return f"{why_draining(state.drain_reason or DrainReason.OPERATOR)}{until_text(state.drain_until_ms, state.at_ms)}"


def until_text(until_ms: int | None, now_ms: float) -> str:
    """Return as the rest of a sentence when what still runs goes on at other pools; empty where it stays."""
    return moves_text(None if until_ms is None else (until_ms - now_ms) / 1000)


def moves_text(in_s: float | None) -> str:
    """Return as the rest of a sentence what becomes of what runs; empty where it stays to its end."""
    if in_s is None:
        return ""
    runs = "what runs" if in_s <= 0 else f"what still runs in {seconds_text(in_s)}"
    return f", and {runs} goes on at other pools, where it can"


def show_state(state: PoolSnapshot, output: Output) -> None:
    """Show a pool with its workers."""
    host = state.host
    gpus = ", ".join(gpu.name for gpu in state.gpus.gpus) or f"none: {state.gpus.reason}"
    output.facts(
        state,
        {
            "pool": state.id,
            "state": "draining" if state.draining else "ready",
            "why": drain_text(state),
            "address": state.url,
            "version": state.version,
            "cpus": host.cpus,
            "memory": f"{bytes_text(host.memory_available_bytes)} available of {bytes_text(host.memory_total_bytes)}",
            "disk": f"{bytes_text(host.disk_free_bytes)} free for models",
            "gpus": gpus,
            "ledger": "\n".join(_ledger(state.devices)),
            "backends": ", ".join(state.backends),
            "models": ", ".join(_model(model) for model in state.models) or "none",
        },
    )
    if not output.as_json:
        output.text("\n")
        output.table(state.workers, WORKER_COLUMNS, none="no workers")


def _ledger(devices: Sequence[Device]) -> Iterator[str]:
    """Yield its lines; GPUs with their vendor where there are several, whose numbers may be the same."""
    several = len({device.vendor for device in devices if device.gpu is not None}) > 1
    for device in devices:
        gpu = f"{device.vendor if several else ''} gpu {device.gpu}".strip()
        yield _line("memory" if device.gpu is None else gpu, device)


def _line(name: str, device: Device) -> str:
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
    ready = f"draining ({drain_text(state)})" if state.draining else "ready"
    return f"{ready}, {counts}, {memory} available, version {state.version}"
