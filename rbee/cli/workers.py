"""What both command lines say of workers."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from rbee.cli.output import Column
from rbee.cli.progress import Bar
from rbee.cli.run import Args
from rbee.cli.units import parse_bytes, parse_int, seconds_text
from rbee.errors import RbeeError
from rbee.wire import codec
from rbee.wire.words import bytes_text
from rbee.wire.workers import Kv, SpawnEvent, WorkerSpec, WorkerStatus

WORKER_COLUMNS = (
    Column("WORKER", "id"),
    Column("STATE", "state"),
    Column("MODEL", "model"),
    Column("BACKEND", "backend"),
    Column("ADDRESS", "address"),
    Column("SLOTS", "slots", right=True),
    Column("MEMORY", "memory_current_bytes", bytes_text, right=True),
    Column("LIMIT", "memory_limit_bytes", bytes_text, right=True),
    Column("STATUS", "status"),
)


def spec_of(args: Args) -> WorkerSpec:
    """Return what ``worker spawn`` asks for; raises InvalidRequest naming every wrong option."""
    memory = args.get("--memory")
    wanted = {
        "backend": args["<backend>"],
        "model": args["--model"],
        "id": args.get("--id"),
        "gpu": parse_int(args.get("--gpu"), "--gpu"),
        "ctx": parse_int(args.get("--ctx"), "--ctx"),
        "slots": parse_int(args.get("--slots"), "--slots"),
        "kv": args.get("--kv"),
        "gpu_layers": parse_int(args.get("--gpu-layers"), "--gpu-layers"),
        "memory_bytes": None if memory is None else parse_bytes(memory, "--memory"),
        "cpu_percent": parse_int(args.get("--cpu"), "--cpu"),
        "idle_s": parse_int(args.get("--idle"), "--idle"),
        "lazy": bool(args.get("--lazy")),
        "pinned": bool(args.get("--pin")),
        "spare": bool(args.get("--spare")),
        "priority": parse_int(args.get("--priority"), "--priority"),
        "keep": True if args.get("--keep") else False if args.get("--forget") else None,
    }
    return codec.from_dict(WorkerSpec, wanted)


async def follow_spawn(events: AsyncIterator[SpawnEvent], model: str, bar: Bar) -> WorkerStatus:
    """Show how a worker comes up, and return it."""
    worker: WorkerStatus | None = None
    async for event in events:
        worker = event.worker
        if worker is None:
            bar(f"starting {model}", event.progress, "")
    if worker is None:
        raise RbeeError(f"the spawn of {model} ended without a worker")
    return worker


def show_worker(worker: WorkerStatus) -> dict[str, Any]:
    """Return a worker as the facts a person wants to see."""
    since = None if worker.since_ms is None else seconds_text(max(0.0, time.time() - worker.since_ms / 1000))
    ended = worker.last_exit
    return {
        "worker": worker.id,
        "state": worker.state.value,
        "model": worker.model,
        "backend": ", ".join([worker.backend.value, *_gpus(worker)]),
        "address": worker.address,
        "unit": worker.unit,
        "pool": worker.pool,
        "declared": "in rbee.toml" if worker.declared else None,
        "slots": f"{worker.slots} of {worker.ctx} tokens" + (f", {worker.kv}" if worker.kv is not Kv.F16 else ""),
        "layers": None if worker.gpu_layers is None else f"{worker.gpu_layers} on the GPU, the rest on the host",
        "memory": _memory(worker),
        "idle after": seconds_text(worker.idle_s) + (", keeps its conversations" if worker.keep else ""),
        "priority": f"{worker.priority:+d}" if worker.priority else None,
        "since": since,
        "loaded in": None if worker.load_ms is None else seconds_text(worker.load_ms / 1000),
        "restarts": worker.restarts or None,
        "status": worker.status,
        "last exit": None if ended is None else f"{ended.result} {ended.code}".strip(),
    }


def _gpus(worker: WorkerStatus) -> Iterator[str]:
    """Yield each of its GPUs, with how much of the model it has where there are several."""
    split = worker.split if len(worker.split) == len(worker.gpus) else ()
    for n, gpu in enumerate(worker.gpus):
        yield f"gpu {gpu} with {split[n]} %" if split else f"gpu {gpu}"
    if not worker.gpus and worker.gpu is not None:
        yield f"gpu {worker.gpu}"


def _memory(worker: WorkerStatus) -> str | None:
    used = None if worker.memory_current_bytes is None else bytes_text(worker.memory_current_bytes)
    limit = None if worker.memory_limit_bytes is None else bytes_text(worker.memory_limit_bytes)
    return f"{used or '–'} of {limit}" if limit else used
