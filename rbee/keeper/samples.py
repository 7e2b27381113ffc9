"""Moments of a small house, for a policy that has no record to be tried on yet; docs/policy.md describes contexts."""

from collections.abc import Mapping, Sequence
from typing import Any

_GIB = 1 << 30
_JOB = {
    "id": "job-1", "model": "llama3", "priority": "interactive", "caller": "ann", "session": None, "waited_ms": 40,
    "deadline_ms": None, "pool": None, "backend": None, "gpu": None, "prompt_bytes": 900, "context_tokens": 0,
    "max_tokens": 256, "attempts": 0,
}  # fmt: skip
_WORKER = {
    "id": "worker-cuda-0", "pool": "workstation", "model": "llama3", "state": "ready", "backend": "cuda", "gpu": 0,
    "gpus": [0], "ctx": 4096, "slots": 2, "in_flight": 0, "free_slots": 2, "idle_ms": 4000,
    "pinned": False, "priority": 0, "need_bytes": 6 * _GIB, "load_ms": 3500,
}  # fmt: skip
_SMALL = {**_WORKER, "id": "worker-cpu-0", "pool": "mac", "model": "smollm2", "backend": "cpu", "gpu": None, "gpus": []}
_POOLS = [
    {
        "id": pool, "state": "ready", "backends": backends, "memory_free_bytes": 20 * _GIB,
        "memory_total_bytes": 32 * _GIB, "models": ["llama3", "smollm2"],
    }
    for pool, backends in (("mac", ["cpu"]), ("workstation", ["cpu", "cuda"]))
]  # fmt: skip
_GPU = {
    "pool": "workstation", "index": 0, "name": "NVIDIA GeForce RTX 3060", "vendor": "nvidia", "total_bytes": 12 * _GIB,
    "free_bytes": 5 * _GIB, "foreign_bytes": _GIB, "temperature_c": 51, "utilisation_percent": 3,
    "power_w": 21.0, "problem": "",
}  # fmt: skip
_DISPATCH = {"action": "dispatch", "pool": "workstation", "worker": "worker-cuda-0"}
_START = {"action": "start_worker", "pool": "workstation", "backend": "cuda", "gpu": 0}
_BUSY = {"action": "wait", "reason": "all 2 slots for llama3 are busy"}


def _moment(builtin: Mapping[str, Any], workers: Sequence[Mapping[str, Any]], **job: Any) -> Mapping[str, Any]:
    row = {**_JOB, **job}
    catalog = [{"id": model, "size_bytes": size * _GIB, "pools": ["mac", "workstation"]}
               for model, size in (("llama3", 5), ("smollm2", 0))]  # fmt: skip
    context = {
        "now_ms": 1_700_000_000_000, "job": row, "queue": [row], "pools": _POOLS, "gpus": [_GPU], "workers": workers,
        "catalog": catalog, "builtin": builtin,
    }  # fmt: skip
    return {"at_ms": context["now_ms"], "context": context, "decision": builtin}


SAMPLES: Sequence[Mapping[str, Any]] = (
    _moment(_DISPATCH, [_WORKER, _SMALL]),
    _moment(_DISPATCH, [_WORKER, _SMALL], id="job-2", priority="batch", caller="", waited_ms=90_000),
    _moment(_BUSY, [{**_WORKER, "state": "busy", "in_flight": 2, "free_slots": 0}], id="job-3"),
    _moment(_START, [_SMALL], id="job-4"),
    _moment(_START, [], id="job-5", priority="batch"),
)
"""A worker that is free; the same for a batch job; one that is busy; none yet; none, for a batch job."""
