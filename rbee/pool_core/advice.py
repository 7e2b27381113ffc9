"""What to do where a worker has no room: commands that would work, as far as the ledger knows. Pure."""

from collections.abc import Iterator, Mapping

from rbee.pool_core import ledger, memory
from rbee.pool_core.ports import Measured
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import Device
from rbee.wire.workers import Backend, WorkerSpec

LEAST_CTX = 512


def for_too_little(
    spec: WorkerSpec,
    model: ModelFile,
    *,
    ctx: int,
    slots: int,
    lines: tuple[Device, ...],
    known: Mapping[str, Measured],
) -> str:
    """Return a hint: fewer slots or less context that would fit on one device, the CPU, or who has the memory.

    Args:
        ctx: what was too much, as ``slots`` was.
        lines: the ledger, the host's memory first.
    """
    wanted = [line for line in lines if spec.backend in line.backends and spec.gpu in (None, line.gpu)]
    free = max((line.free_bytes for line in wanted), default=0)
    advice = [
        f"{_command(spec.backend, model)} {less} would fit" for less in _less(spec, model, ctx, slots, free, known)
    ]
    if spec.backend is not Backend.CPU and memory.host_bytes(model, ctx=ctx, slots=slots) <= lines[0].free_bytes:
        advice.append(f"{_command(Backend.CPU, model)} would fit, and be slow")
    look = "rbee-hive worker list" if spec.backend is Backend.CPU else "rbee-hive gpu status"
    return "; ".join([*advice, f"{look} shows who has the memory; or take a smaller or more quantized model"])


def _command(backend: Backend, model: ModelFile) -> str:
    return f"rbee-hive worker spawn {backend} --model {model.id}"


def _less(
    spec: WorkerSpec, model: ModelFile, ctx: int, slots: int, free: int, known: Mapping[str, Measured]
) -> Iterator[str]:
    """Yield the most that fits, if any: first with one slot, then with half the context, and half of that."""
    while ctx >= LEAST_CTX or slots > 1:
        ctx, slots = (ctx, 1) if slots > 1 else (ctx // 2, 1)
        if ctx >= LEAST_CTX and ledger.need(model, spec.backend, ctx=ctx, slots=slots, known=known).bytes <= free:
            yield f"--ctx {ctx} --slots 1"
            return
