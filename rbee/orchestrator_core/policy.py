"""Decisions as scripts make them: actions, that are held against what is there. ``moment`` is what scripts are told.

A script may only choose among what the built-in could have chosen: it wakes nobody into memory that is not free, and
evicts nobody who is pinned, has work, or is being loaded.
"""

from typing import Any

from rbee.errors import PolicyFailed
from rbee.orchestrator_core import eviction, places
from rbee.orchestrator_core.devices import gpus_of, share
from rbee.orchestrator_core.eviction import Victim
from rbee.orchestrator_core.moment import Plain
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.scheduling import Decision, Evict, Run, Spawn, Wait, fits, holds, seats_of
from rbee.orchestrator_core.strategies import Seat
from rbee.orchestrator_core.view import Key, View
from rbee.wire.jobs import JobSpec
from rbee.wire.workers import WorkerSpec, WorkerState

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


def in_words(action: Any) -> str:
    """Return ``dispatch blep:worker-cpu-0``; of what is no action what it is."""
    if not isinstance(action, dict):
        return str(action)
    match action.get("action"):
        case "dispatch" | "evict_worker":
            return f"{action['action']} {action.get('pool')}:{action.get('worker')}"
        case "start_worker":
            gpu = "" if action.get("gpu") is None else f" gpu {action['gpu']}"
            return f"start_worker {action.get('pool')} {action.get('backend')}{gpu}"
        case "wait":
            return f"wait: {str(action.get('reason'))[:_LONGEST_REASON]}"
    return str(action)


def decision_of(answer: Any, job: JobSpec, view: View, context_tokens: int = 0) -> Decision | None:
    """Return what a script's answer means; None: the built-in is to decide.

    Args:
        context_tokens: how many the prompt has at least.

    Raises:
        PolicyFailed: it is no action, or one that cannot be done now.
    """
    if answer is None:
        return None
    if not isinstance(answer, dict) or str(answer.get("action")) not in _ACTIONS:
        raise PolicyFailed(f"it returned {str(answer)[:80]!r}, expected an action or None", hint="docs/policy.md")
    return _ACTIONS[str(answer["action"])](answer, job, view, context_tokens)


def _dispatch(answer: Plain, job: JobSpec, view: View, context_tokens: int) -> Decision:
    key = _key(answer)
    seat = next((seat for seat in seats_of(job, view, {}) if (seat.pool, seat.worker.id) == key), None)
    if seat is None:
        raise PolicyFailed(f"dispatch to {key[1]} of {key[0]}, which does not serve {job.model}")
    if not holds(seat.worker, context_tokens):
        raise PolicyFailed(f"dispatch to {key[1]} of {key[0]}, whose context is no longer than the prompt")
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


def _wait(answer: Plain, job: JobSpec, view: View, _: int) -> Decision:  # noqa: ARG001  (as all actions)
    said = "".join(each if each.isprintable() else " " for each in str(answer.get("reason") or ""))
    return Wait(said.strip()[:_LONGEST_REASON] or "the policy has it wait")


def _start_worker(answer: Plain, job: JobSpec, view: View, _: int) -> Decision:
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


def _evict_worker(answer: Plain, job: JobSpec, view: View, _: int) -> Decision:
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
