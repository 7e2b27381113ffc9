"""Decisions as scripts see and make them: a context of plain values, and actions that are held against what is there.

A script may only choose among what the built-in could have chosen: it wakes nobody into memory that is not free, and
evicts nobody who is pinned, has work, or is being loaded.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from rbee.errors import PolicyFailed
from rbee.orchestrator_core import eviction, places
from rbee.orchestrator_core.eviction import Victim
from rbee.orchestrator_core.holders import gpus_of, share
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.scheduling import Decision, Evict, Run, Spawn, Wait, fits, seats_of
from rbee.orchestrator_core.strategies import Seat
from rbee.orchestrator_core.view import Key, View
from rbee.wire.jobs import JobSpec
from rbee.wire.pools import PoolState
from rbee.wire.workers import WorkerSpec, WorkerState

Plain: TypeAlias = Mapping[str, Any]
QUEUE_SHOWN = 100
"""So many of those who wait are in the context; more would take longer to tell than to decide."""

_LONGEST_REASON = 200


def action_of(decision: Decision) -> Plain | None:
    """Return a decision as a script would make it; None for a refusal, which is not a script's to make."""
    match decision:
        case Run(pool, worker):
            return {"action": "dispatch", "pool": pool, "worker": worker}
        case Wait(reason):
            return {"action": "wait", "reason": reason}
        case Spawn(place):
            return {"action": "start_worker", "pool": place.pool, "backend": place.backend.value, "gpu": place.gpu}
        case Evict(place, victims):
            return {"action": "evict_worker", "pool": place.pool, "worker": victims[0].worker}
    return None


def context(job: Plain, queue: list[Plain], view: View, builtin: Decision, *, now_ms: int) -> Plain:
    """Return what a script is given.

    Args:
        job: as ``job_row`` tells it; ``queue`` is of such.
        builtin: what would be done without a script.
    """
    return {
        "now_ms": now_ms,
        "job": job,
        "queue": queue[:QUEUE_SHOWN],
        "pools": list(_pools(view)),
        "gpus": list(_gpus(view)),
        "workers": list(_workers(view)),
        "catalog": list(_catalog(view)),
        "builtin": action_of(builtin),
    }


def job_row(spec: JobSpec, *, job: str, caller: str, waited_ms: int, attempts: int, model: str) -> Plain:
    """Return a job without its prompt. ``model`` is in its canonical spelling."""
    prompt = spec.prompt or "".join(message.content for message in spec.messages or ())
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
        "prompt_bytes": len(prompt.encode()),
        "max_tokens": spec.max_tokens,
        "attempts": attempts,
    }


def decision_of(answer: Any, job: JobSpec, view: View) -> Decision | None:
    """Return what a script's answer means; None: the built-in is to decide.

    Raises:
        PolicyFailed: it is no action, or one that cannot be done now.
    """
    if answer is None:
        return None
    if not isinstance(answer, dict) or str(answer.get("action")) not in _ACTIONS:
        raise PolicyFailed(f"it returned {str(answer)[:80]!r}, expected an action or None", hint="docs/policy.md")
    return _ACTIONS[str(answer["action"])](answer, job, view)


def _dispatch(answer: Plain, job: JobSpec, view: View) -> Decision:
    key = _key(answer)
    seat = next((seat for seat in seats_of(job, view, {}) if (seat.pool, seat.worker.id) == key), None)
    if seat is None:
        raise PolicyFailed(f"dispatch to {key[1]} of {key[0]}, which does not serve {job.model}")
    _require_free(seat, view)
    return Run(*key, wakes=seat.worker.state is WorkerState.ASLEEP)


def _require_free(seat: Seat, view: View) -> None:
    who = f"{seat.worker.id} of {seat.pool}"
    if seat.free <= 0:
        raise PolicyFailed(f"dispatch to {who}, which has no free slot")
    if seat.worker.state is WorkerState.STARTING:
        raise PolicyFailed(f"dispatch to {who}, which is starting")
    if seat.worker.state is WorkerState.ASLEEP and not fits(seat, view):
        raise PolicyFailed(f"dispatch to {who}, which is asleep, and its memory is not free")


def _wait(answer: Plain, job: JobSpec, view: View) -> Decision:  # noqa: ARG001  (as all actions)
    said = "".join(each if each.isprintable() else " " for each in str(answer.get("reason") or ""))
    return Wait(said.strip()[:_LONGEST_REASON] or "the policy has it wait")


def _start_worker(answer: Plain, job: JobSpec, view: View) -> Decision:
    wanted = (answer.get("pool"), answer.get("backend"), answer.get("gpu"))
    rooms = places.search(job, view).rooms
    room = next((r for r in rooms if wanted == (r.place.pool, r.place.backend.value, r.place.gpu)), None)
    where = f"{wanted[1]} of {wanted[0]}" if wanted[2] is None else f"gpu {wanted[2]} of {wanted[0]}"
    if room is None:
        raise PolicyFailed(f"start_worker on {where}, where {job.model} cannot be")
    if not room.fits and room.place not in view.spawning:
        why = "one is there already" if room.taken else f"it needs {room.need} bytes and {room.free} are free"
        raise PolicyFailed(f"start_worker on {where}: {why}")
    place = room.place
    return Spawn(place, WorkerSpec(backend=place.backend, model=room.file, gpu=place.gpu), room.need)


def _evict_worker(answer: Plain, job: JobSpec, view: View) -> Decision:
    key = _key(answer)
    worker = view.fleet.worker(*key)
    if worker is None:
        raise PolicyFailed(f"evict_worker {key[1]} of {key[0]}, which is not there")
    kept = eviction.keeps(key, worker, view)
    if kept is not None:
        raise PolicyFailed(f"evict_worker {key[1]} of {key[0]}, which {kept.why}")
    place = Place(key[0], view.fleet.names.canonical(job.model), worker.backend, gpus_of(worker)[0])
    victim = Victim(pool=key[0], worker=key[1], model=worker.model, frees=share(worker), why="was chosen by the policy")
    return Evict(place, (victim,))


_ACTIONS = {
    "dispatch": _dispatch,
    "wait": _wait,
    "start_worker": _start_worker,
    "evict_worker": _evict_worker,
}


def _key(answer: Plain) -> Key:
    return str(answer.get("pool")), str(answer.get("worker"))


def _pools(view: View) -> Iterator[Plain]:
    for pool in view.fleet.pools:
        host = view.fleet.devices(pool.id)[:1]
        yield {
            "id": pool.id,
            "state": pool.state.value,
            "backends": [backend.value for backend in (pool.snapshot.backends if pool.snapshot else ())],
            "memory_free_bytes": host[0].free_bytes if host else 0,
            "memory_total_bytes": host[0].total_bytes if host else 0,
            "models": [model.id for model in (pool.snapshot.models if pool.snapshot else ())],
        }


def _gpus(view: View) -> Iterator[Plain]:
    for pool in view.fleet.pools:
        shown = {gpu.index: gpu for gpu in (pool.snapshot.gpus.gpus if pool.snapshot else ())}
        for device in view.fleet.devices(pool.id):
            gpu = shown.get(device.gpu) if device.gpu is not None else None
            if device.gpu is not None:
                yield {
                    "pool": pool.id,
                    "index": device.gpu,
                    "name": gpu.name if gpu else "",
                    "total_bytes": device.total_bytes,
                    "free_bytes": device.free_bytes,
                    "foreign_bytes": device.foreign_bytes,
                    "temperature_c": gpu.temperature_c if gpu else None,
                    "utilisation_percent": gpu.utilisation_percent if gpu else None,
                    "problem": device.problem,
                }


def _workers(view: View) -> Iterator[Plain]:
    for pool in view.fleet.pools:
        if pool.state is not PoolState.LOST:
            for worker in pool.workers:
                key = (pool.id, worker.id)
                idle_s, jobs = view.idle_s(key), view.in_flight.get(key, 0)
                yield {
                    "id": worker.id,
                    "pool": pool.id,
                    "model": view.fleet.names.canonical(worker.model),
                    "state": worker.state.value,
                    "backend": worker.backend.value,
                    "gpu": worker.gpu,
                    "slots": worker.slots,
                    "in_flight": jobs,
                    "free_slots": max(0, worker.slots - jobs),
                    "idle_ms": None if idle_s == float("inf") else int(idle_s * 1000),
                    "pinned": worker.pinned,
                    "need_bytes": worker.need_bytes,
                    "load_ms": worker.load_ms,
                }


def _catalog(view: View) -> Iterator[Plain]:
    having: dict[str, dict[str, Any]] = {}
    for pool in view.fleet.pools:
        for file in pool.snapshot.models if pool.snapshot else ():
            model = view.fleet.names.canonical(file.id)
            row = having.setdefault(model, {"id": model, "size_bytes": file.size_bytes, "pools": []})
            row["pools"].append(pool.id)
    yield from having.values()
