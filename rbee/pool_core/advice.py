"""What to do where a worker has no room: commands that would work, as far as the ledger knows. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from rbee.pool_core import ledger, memory, mixes
from rbee.pool_core.kinds import can_keep_as
from rbee.pool_core.load import Load
from rbee.pool_core.ports import Measured
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import Device
from rbee.wire.workers import Backend, Kv, WorkerSpec

LEAST_CTX = 512


def for_too_little(
    spec: WorkerSpec, model: ModelFile, load: Load, lines: Sequence[Device], known: Mapping[str, Measured]
) -> str:
    """Return a hint: a smaller cache, fewer slots, less context or fewer layers that would fit on one device; the CPU;
    or who has the memory.

    Args:
        load: what was too much.
        lines: the ledger, the host's memory first.
    """
    wanted = [line for line in lines if spec.backend in line.backends and spec.gpu in (None, line.gpu)]
    free = max((line.free_bytes for line in wanted), default=0)
    advice = [f"{_command(spec.backend, model, load)} {less} would fit" for less in _less(model, load, free, known)]
    on_cpu = dataclasses.replace(load, backend=Backend.CPU, gpu_layers=None)
    if spec.backend is not Backend.CPU:
        layers = _layers(model, load, free, lines[0].free_bytes)
        if layers:
            command = _command(spec.backend, model, load)
            advice.append(f"{command} --gpu-layers {layers} would leave the rest on the host, and be slower")
        if memory.host_bytes(model, on_cpu) <= lines[0].free_bytes:
            advice.append(f"{_command(Backend.CPU, model, load)} would fit, and be slow")
    look = "rbee-hive worker list" if spec.backend is Backend.CPU else "rbee-hive gpu status"
    return "; ".join([*advice, f"{look} shows who has the memory; or take a smaller or more quantized model"])


def _command(backend: Backend, model: ModelFile, load: Load) -> str:
    return f"rbee-hive worker spawn {backend} --model {mixes.name_of(model, load.adapters)}"


def _less(model: ModelFile, load: Load, free: int, known: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the most that fits, if any: the same with a smaller cache; one slot; half the context, and half of that.

    Each is tried with the cache as it is first.
    """
    certain = model.key_length > 0 and can_keep_as(Kv.Q8_0, model, load.backend)
    smaller = [Kv.Q8_0] if load.kv is Kv.F16 and certain else []
    for fewer in _fewer(load):
        for kv in (load.kv, *smaller):
            less = dataclasses.replace(fewer, kv=kv)
            if less != load and ledger.need(model, less, known).bytes <= free:
                yield " ".join(_words(load, less))
                return


def _fewer(load: Load) -> Iterator[Load]:
    yield load
    ctx = load.ctx
    if load.slots > 1:
        yield dataclasses.replace(load, slots=1)
    while ctx // 2 >= LEAST_CTX:
        ctx //= 2
        yield dataclasses.replace(load, slots=1, ctx=ctx)


def _words(load: Load, less: Load) -> Iterator[str]:
    if (less.ctx, less.slots) != (load.ctx, load.slots):
        yield f"--ctx {less.ctx} --slots {less.slots}"
    if less.kv is not load.kv:
        yield f"--kv {less.kv}"


def _layers(model: ModelFile, load: Load, free: int, host_free: int) -> int:
    """Return how many layers would fit on the GPU with the rest on the host; 0 when that is no way out."""
    for layers in range(model.layers, 0, -1):
        part = dataclasses.replace(load, gpu_layers=layers)
        if memory.device_bytes(model, part) <= free:
            return layers if memory.rest_bytes(model, part) <= host_free else 0
    return 0
