"""What systemd says of a worker's pair of units, read as the state of the worker. Pure."""

import re

from rbee.pool_core import names, unit
from rbee.pool_core.ports import UnitFacts
from rbee.wire.workers import Backend, Kv, WorkerExit, WorkerState, WorkerStatus

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s?%")
_SAID = {
    "loading": WorkerState.STARTING,
    "starting": WorkerState.STARTING,
    "ready": WorkerState.READY,
    "idle": WorkerState.READY,
    "busy": WorkerState.BUSY,
    "draining": WorkerState.DRAINING,
    "stopping": WorkerState.DRAINING,
}
GONE = ("inactive", "failed")


def state(facts: UnitFacts) -> WorkerState:
    """Return the worker's state.

    =================  ==================  ==================================================
    service            socket              state
    =================  ==================  ==================================================
    any                failed              failed (its service hit the start limit)
    inactive, failed   any                 failed, where its program is gone: it cannot start again
    inactive, failed   active              asleep: the next connection starts it
    inactive, failed   inactive            stopped, and about to be forgotten
    activating         any                 starting (also between two attempts)
    active             active              ready, busy or draining, as its STATUS line begins
    active             inactive            draining: nothing can wake it again
    deactivating       active              ready to sleep, or being restarted: asleep
    deactivating       inactive            draining
    =================  ==================  ==================================================
    """
    if facts.socket_state == "failed" or (facts.program_missing and facts.service_state in GONE):
        return WorkerState.FAILED
    listening = facts.socket_state == "active"
    if facts.service_state in GONE:
        return WorkerState.ASLEEP if listening else WorkerState.STOPPED
    if facts.service_state == "activating":
        return WorkerState.STARTING
    if not listening:
        return WorkerState.DRAINING
    if facts.service_state == "deactivating":
        return WorkerState.ASLEEP
    return _SAID.get(_first_word(facts.status_text), WorkerState.READY)


def progress(status_text: str) -> float | None:
    """Return 0..1 from the percentage in a STATUS line, if it has one."""
    found = _PERCENT.search(status_text)
    return min(float(found.group(1)) / 100, 1.0) if found else None


def status(facts: UnitFacts, last_exit: WorkerExit | None = None) -> WorkerStatus:
    """Return all that is known of a worker. What its ``ExecStart`` does not tell is left at its default."""
    plan = unit.plan_from_argv(facts.argv, memory_bytes=facts.memory_limit_bytes or 0)
    now = state(facts)
    gone = now in (WorkerState.ASLEEP, WorkerState.STOPPED) or facts.service_sub_state.startswith("auto-restart")
    text = "" if gone else facts.status_text  # systemd keeps the last words of a process that has ended
    if facts.program_missing and now is WorkerState.FAILED:
        text = f"its program {facts.argv[0]} is gone: stop it and spawn it again"
    return WorkerStatus(
        id=facts.id,
        state=now,
        model=plan.model,
        backend=Backend(plan.backend),
        address=plan.address,
        unit=names.service(facts.id),
        gpu=plan.gpu,
        ctx=plan.ctx,
        slots=plan.slots,
        idle_s=plan.idle_s,
        memory_limit_bytes=facts.memory_limit_bytes,
        memory_current_bytes=facts.memory_current_bytes,
        restarts=facts.restarts,
        since_ms=facts.since_ms,
        load_ms=facts.load_ms,
        gpus=plan.gpus,
        split=plan.split,
        pinned=plan.pinned,
        spare=plan.spare,
        declared=plan.declared,
        keep=plan.keep,
        priority=plan.priority,
        kv=Kv(plan.kv),
        gpu_layers=plan.gpu_layers,
        pid=facts.pid,
        progress=progress(text) if now is WorkerState.STARTING else None,
        status=text,
        last_exit=last_exit,
    )


def _first_word(text: str) -> str:
    return text.replace(",", " ").replace(":", " ").split(maxsplit=1)[0].lower() if text.strip() else ""
