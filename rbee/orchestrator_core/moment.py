"""What a script is told when it is asked: one moment, in plain values. docs/policy.md lists the fields.

A house is told whole. Of a fleet too large for that the pools are told that matter for the job.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import zip_longest
from typing import Any, TypeAlias

from rbee.orchestrator_core.devices import gpus_of
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.view import View
from rbee.wire.jobs import JobSpec
from rbee.wire.pools import PoolState
from rbee.wire.workers import WorkerState

Plain: TypeAlias = Mapping[str, Any]
QUEUE_SHOWN, POOLS_SHOWN = 100, 25
"""So many of those who wait, and of the pools, are told; more would take longer to tell than to decide."""

_AWAKE = (WorkerState.READY, WorkerState.BUSY)


def context(job: Plain, queue: Sequence[Plain], view: View, builtin: Plain | None, *, now_ms: int) -> Plain:
    """Return what a script is given.

    Args:
        job: as ``job_row`` tells it; ``queue`` is of such.
        builtin: what would be done without a script.
    """
    pools = _pools_for(job, view, builtin)
    return {
        "now_ms": now_ms,
        "job": job,
        "queue": queue[:QUEUE_SHOWN],
        "pools": [_pool(pool, view) for pool in pools],
        "gpus": [gpu for pool in pools for gpu in _gpus(pool, view)],
        "workers": [worker for pool in pools for worker in _workers(pool, view)],
        "catalog": _catalog(pools, view),
        "builtin": builtin,
    }


def job_row(
    spec: JobSpec,
    *,
    job: str,
    caller: str,
    waited_ms: int,
    attempts: int,
    model: str,
    prompt_bytes: int,
    context_tokens: int,
) -> Plain:
    """Return a job without its prompt. ``model`` is in its canonical spelling."""
    return {
        "id": job,
        "model": model,
        "priority": spec.priority.value,
        "caller": caller,
        "session": spec.session,
        "waited_ms": waited_ms,
        "deadline_ms": spec.deadline_ms,
        "pool": spec.placement.pool,
        "backend": spec.placement.backend,
        "gpu": spec.placement.gpu,
        "prompt_bytes": prompt_bytes,
        "context_tokens": context_tokens,
        "max_tokens": spec.max_tokens,
        "attempts": attempts,
    }


def _pools_for(job: Plain, view: View, builtin: Plain | None) -> Sequence[PoolView]:
    """Return all pools; of more than ``POOLS_SHOWN`` those that have the model, and among them the freest."""
    if len(view.fleet) <= POOLS_SHOWN:
        return view.fleet.pools
    model, chosen = job["model"], (builtin or {}).get("pool")
    slots: Counter[str] = Counter()
    for pool, worker in view.fleet.workers(model):
        if worker.state in _AWAKE:
            slots[pool.id] += max(0, worker.slots - view.in_flight.get((pool.id, worker.id), 0))
    having = {pool.id: pool for pool, _ in (*view.fleet.workers(model), *view.fleet.files(model))}

    def rank(pool: PoolView) -> tuple[bool, bool, int, int, str]:
        free = max((device.free_bytes for device in view.fleet.devices(pool.id)), default=0)
        return pool.id != chosen, pool.state is not PoolState.READY, -slots[pool.id], -free, pool.id

    return sorted(nsmallest(POOLS_SHOWN, having.values(), key=rank), key=lambda pool: pool.id)


def _pool(pool: PoolView, view: View) -> Plain:
    host = view.fleet.devices(pool.id)[:1]
    return {
        "id": pool.id,
        "state": pool.state.value,
        "backends": [backend.value for backend in (pool.snapshot.backends if pool.snapshot else ())],
        "memory_free_bytes": host[0].free_bytes if host else 0,
        "memory_total_bytes": host[0].total_bytes if host else 0,
        "models": [model.id for model in (pool.snapshot.models if pool.snapshot else ())],
    }


def _gpus(pool: PoolView, view: View) -> Iterator[Plain]:
    """Yield each GPU's line of the ledger with what the driver says of it; both lists are in the same order."""
    lines = [device for device in view.fleet.devices(pool.id) if device.gpu is not None]
    for device, gpu in zip_longest(lines, pool.snapshot.gpus.gpus[: len(lines)] if pool.snapshot else ()):
        yield {
            "pool": pool.id,
            "index": device.gpu,
            "name": gpu.name if gpu else "",
            "vendor": gpu.vendor if gpu else "",
            "total_bytes": device.total_bytes,
            "free_bytes": device.free_bytes,
            "foreign_bytes": device.foreign_bytes,
            "temperature_c": gpu.temperature_c if gpu else None,
            "utilisation_percent": gpu.utilisation_percent if gpu else None,
            "power_w": gpu.power_w if gpu else None,
            "problem": device.problem,
        }


def _workers(pool: PoolView, view: View) -> Iterator[Plain]:
    for worker in pool.workers if pool.state is not PoolState.LOST else ():
        key = (pool.id, worker.id)
        idle_s, jobs = view.idle_s(key), view.in_flight.get(key, 0)
        yield {
            "id": worker.id,
            "pool": pool.id,
            "model": view.fleet.names.canonical(worker.model),
            "state": worker.state.value,
            "backend": worker.backend.value,
            "gpu": worker.gpu,
            "gpus": [gpu for gpu in gpus_of(worker) if gpu is not None],
            "ctx": worker.ctx,
            "slots": worker.slots,
            "in_flight": jobs,
            "free_slots": max(0, worker.slots - jobs),
            "idle_ms": None if idle_s == float("inf") else int(idle_s * 1000),
            "pinned": worker.pinned,
            "priority": worker.priority,
            "need_bytes": worker.need_bytes,
            "load_ms": worker.load_ms,
        }


def _catalog(pools: Sequence[PoolView], view: View) -> list[Plain]:
    having: dict[str, dict[str, Any]] = {}
    for pool in pools:
        for file in pool.snapshot.models if pool.snapshot else ():
            model = view.fleet.names.canonical(file.id)
            row = having.setdefault(model, {"id": model, "size_bytes": file.size_bytes, "pools": []})
            row["pools"].append(pool.id)
    return list(having.values())
