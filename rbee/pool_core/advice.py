"""What to do where a worker has no room: commands that would work, as far as the ledger knows. Pure.

Each is the whole request with as little as possible changed, and none is said before it was decided like any other.
"""

import dataclasses
from collections.abc import Callable, Iterator

from rbee.pool_core.kinds import can_keep_as
from rbee.pool_core.load import Load
from rbee.wire.catalog import ModelFile
from rbee.wire.workers import MOST_LAYERS, Backend, Kv, WorkerSpec

LEAST_CTX = 512


def for_too_little(spec: WorkerSpec, model: ModelFile, load: Load, works: Callable[[WorkerSpec], bool]) -> str:
    """Return a hint: another GPU, a smaller cache, fewer slots, less context or other layers that would fit; the CPU;
    or who has the memory.

    Args:
        spec: what was asked for, its model by the name it has here.
        load: what was too much.
        works: whether a request would be granted now.
    """
    ways = (
        (_anywhere(spec), "would fit"),
        (_less(spec, model, load), "would fit"),
        (_layers(spec, model), "would leave the rest on the host, and be slower"),
        (_on_cpu(spec), "would fit, and be slow"),
    )
    found = ((next(filter(works, tries), None), what) for tries, what in ways)
    advice = [f"{command(wanted)} {what}" for wanted, what in found if wanted is not None]
    look = "rbee-hive worker list" if spec.backend is Backend.CPU else "rbee-hive gpu status"
    return "; ".join([*advice, f"{look} shows who has the memory; or take a smaller or more quantized model"])


def command(spec: WorkerSpec) -> str:
    """Return the command line that asks for ``spec``."""
    numbers = {
        "--id": spec.id,
        "--gpu": spec.gpu,
        "--ctx": spec.ctx,
        "--slots": spec.slots,
        "--kv": spec.kv,
        "--gpu-layers": spec.gpu_layers,
        "--memory": spec.memory_bytes,
        "--cpu": spec.cpu_percent,
        "--idle": spec.idle_s,
    }
    switches = {
        "--lazy": spec.lazy,
        "--pin": spec.pinned,
        "--spare": spec.spare,
        "--keep": spec.keep is True,
        "--forget": spec.keep is False,
    }
    said = [f"{option} {value}" for option, value in numbers.items() if value is not None]
    said += [] if spec.priority is None else [f"--priority={spec.priority}"]  # it may begin with a dash
    said += [option for option, wanted in switches.items() if wanted]
    return " ".join([f"rbee-hive worker spawn {spec.backend} --model {spec.model}", *said])


def _anywhere(spec: WorkerSpec) -> Iterator[WorkerSpec]:
    if spec.gpu is not None:
        yield dataclasses.replace(spec, gpu=None)


def _less(spec: WorkerSpec, model: ModelFile, load: Load) -> Iterator[WorkerSpec]:
    """Yield the same with less, the most first, and each with the cache as it is before a smaller one."""
    smaller = load.kv is Kv.F16 and model.key_length > 0 and can_keep_as(Kv.Q8_0, model, load.backend)
    for fewer in _fewer(spec, load):
        yield from _unlimited(fewer)
        if smaller:
            yield from _unlimited(dataclasses.replace(fewer, kv=Kv.Q8_0))


def _unlimited(spec: WorkerSpec) -> Iterator[WorkerSpec]:
    """Yield it as it is, and with the limit that it would have by itself."""
    yield spec
    if spec.memory_bytes is not None:
        yield dataclasses.replace(spec, memory_bytes=None)


def _fewer(spec: WorkerSpec, load: Load) -> Iterator[WorkerSpec]:
    yield spec
    ctx = load.ctx
    if load.slots > 1:
        yield dataclasses.replace(spec, slots=1)
    while ctx // 2 >= LEAST_CTX:
        ctx //= 2
        yield dataclasses.replace(spec, slots=1, ctx=ctx)


def _layers(spec: WorkerSpec, model: ModelFile) -> Iterator[WorkerSpec]:
    """Yield it with as many layers on GPUs as fit and the rest on the host, where another limit would be needed."""
    if spec.backend is not Backend.CPU:
        for layers in range(min(model.layers, MOST_LAYERS), 0, -1):
            yield dataclasses.replace(spec, gpu_layers=layers, memory_bytes=None)


def _on_cpu(spec: WorkerSpec) -> Iterator[WorkerSpec]:
    if spec.backend is not Backend.CPU:
        yield dataclasses.replace(spec, backend=Backend.CPU, gpu=None, gpu_layers=None, memory_bytes=None)
