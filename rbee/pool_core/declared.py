"""What rbee.toml declares, held against what runs: the steps that make the two equal. Pure."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rbee.errors import Conflict, RbeeError
from rbee.pool_core import lifecycle, unit
from rbee.pool_core.ports import PoolFacts, UnitFacts, WorkerPlan
from rbee.pool_core.usual import filled
from rbee.wire.envelope import to_envelope
from rbee.wire.mixes import parts_of
from rbee.wire.sync import SyncAction, SyncOutcome, SyncState, SyncStep
from rbee.wire.workers import WorkerShape, WorkerSpec, WorkerState

SYNC = "rbee-hive sync"
_PREDICTED = frozenset({"id", "address", "memory_bytes", "gpu", "gpus", "split", "threads", "batch"})
"""What the pool finds out by itself each time: that it would now find something else is no change."""
_OTHERWISE = frozenset({"model_paths", "adapter_paths", "declared", "limited"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What should be on this host: models, and workers by their ids."""

    models: tuple[str, ...] = ()
    workers: Mapping[str, WorkerShape] = field(default_factory=dict)

    def specs(self) -> tuple[WorkerSpec, ...]:
        """Return what to ask for, in the order of the file."""
        return tuple(
            WorkerSpec(id=worker, **{each.name: getattr(shape, each.name) for each in dataclasses.fields(WorkerShape)})
            for worker, shape in self.workers.items()
        )

    def references(self) -> tuple[str, ...]:
        """Return each model that has to be here: those that are declared so, and those of the workers."""
        of_workers = (parts_of(shape.model) for shape in self.workers.values())
        return tuple(dict.fromkeys([*self.models, *(each for base, over in of_workers for each in (base, *over))]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A declared worker, and what the pool would make of it now.

    ``plan`` is None where it cannot tell: a model is not here yet, or ``problem`` says why.
    """

    spec: WorkerSpec
    plan: WorkerPlan | None = None
    problem: RbeeError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a plan is made from, at one moment.

    ``missing`` are models, ``fetched`` those that came just now; ``real`` tells where a path leads.
    """

    wanted: Sequence[Wanted]
    missing: Sequence[str]
    here: Sequence[UnitFacts]
    facts: PoolFacts
    fetched: Collection[str] = ()
    real: Callable[[str], str] = str

    def waiting(self) -> Collection[str]:
        """Return the workers of which nothing can be said before their model is here."""
        return {each.spec.id or "" for each in self.wanted if each.plan is None and each.problem is None}


def plan(scene: Scene, *, prune: bool = False) -> SyncOutcome:
    """Return the steps in the order in which they are taken: what frees memory comes before what wants it.

    Args:
        prune: also what nobody declared is to go.
    """
    here = {facts.id: facts for facts in scene.here}
    declared = [_step(each, here.get(each.spec.id or ""), scene, prune=prune) for each in scene.wanted]
    names = {each.spec.id for each in scene.wanted}
    others = [_other(facts, prune=prune) for facts in scene.here if facts.id not in names]
    steps = [*map(to_fetch, scene.missing), *others, *(step for step in declared if isinstance(step, SyncStep))]
    return SyncOutcome(
        steps=tuple(sorted(steps, key=order)),
        unchanged=tuple(step for step in declared if isinstance(step, str)),
    )


def order(step: SyncStep) -> int:
    """Return when a step is taken, as a key to sort by: what frees memory comes before what wants it."""
    return list(SyncAction).index(step.action)


def without(outcome: SyncOutcome, workers: Collection[str]) -> SyncOutcome:
    """Return the outcome as if these workers were nowhere."""
    return dataclasses.replace(
        outcome,
        steps=tuple(step for step in outcome.steps if step.action is SyncAction.FETCH or step.id not in workers),
        unchanged=tuple(worker for worker in outcome.unchanged if worker not in workers),
    )


def to_fetch(model: str) -> SyncStep:
    """Return the step that brings a model."""
    return SyncStep(id=model, action=SyncAction.FETCH, why="it is not here")


def is_told(facts: UnitFacts) -> bool:
    """Say whether a worker that ends knows that it shall; one whose socket is only closed goes on till it is idle."""
    return facts.service_state != "active" or facts.status_text.startswith(("draining", "stopping"))


def is_asleep(facts: UnitFacts) -> bool:
    """Say whether nothing of the worker runs, but its socket waits."""
    return facts.service_state in lifecycle.GONE and facts.socket_state == "active"


def failed(step: SyncStep, error: RbeeError) -> SyncStep:
    """Return the step as one that failed."""
    return dataclasses.replace(step, state=SyncState.FAILED, error=to_envelope(error)["error"])


def _step(wanted: Wanted, facts: UnitFacts | None, scene: Scene, *, prune: bool) -> SyncStep | str:
    """Return what to do about a declared worker; its id where nothing is."""
    worker = wanted.spec.id or ""
    if facts is None:
        step = SyncStep(id=worker, action=SyncAction.START, why="it is not there")
        return step if wanted.problem is None else failed(step, wanted.problem)
    again = SyncStep(id=worker, action=SyncAction.REPLACE)
    stays = SyncStep(id=worker, action=SyncAction.KEEP, state=SyncState.WAITS)
    if wanted.problem is not None:
        return failed(dataclasses.replace(stays, why="it stays as it is"), wanted.problem)
    if ends(facts):
        return dataclasses.replace(again, why="it drains")
    if wanted.plan is None:
        return dataclasses.replace(stays, why=f"it waits for its model {wanted.spec.model}, which is not here")
    differs = "; ".join(_differences(wanted, facts, scene))
    if not _plan_of(facts).declared:
        return _by_hand(differs, facts, again, stays, prune=prune)
    if facts.socket_state == "failed":
        return dataclasses.replace(again, why=f"it has failed: {facts.result or 'its socket is gone'}")
    if differs:
        return dataclasses.replace(again, why=differs)
    if _has_other_program(facts, scene):
        if is_asleep(facts):
            return dataclasses.replace(again, why="its program is the one before an upgrade, and it sleeps")
        return dataclasses.replace(stays, why="its program is the one before an upgrade, until it falls asleep")
    return worker


def _by_hand(differs: str, facts: UnitFacts, again: SyncStep, stays: SyncStep, *, prune: bool) -> SyncStep:
    """Return what to do about a worker of a declared name that somebody else made."""
    if differs and prune:
        return dataclasses.replace(again, why=f"it was started by hand, and {differs}")
    if differs:
        kept = dataclasses.replace(stays, why="it was started by hand: left alone")
        return failed(
            kept,
            Conflict(
                f"worker {again.id} was started by hand, and is not as declared: {differs}", hint=f"{SYNC} --prune"
            ),
        )
    if is_asleep(facts):
        return dataclasses.replace(again, why="it was started by hand, is as declared, and sleeps")
    return dataclasses.replace(stays, why="it was started by hand and is as declared: becomes ours when it sleeps")


def _other(facts: UnitFacts, *, prune: bool) -> SyncStep:
    """Return what to do about a worker that nothing declares."""
    known = _plan_of(facts)
    if known.declared:
        return SyncStep(id=facts.id, action=SyncAction.STOP, why="it is declared no more")
    if prune:
        return SyncStep(id=facts.id, action=SyncAction.STOP, why="it is not declared")
    maker = "made for a deep queue" if known.spare else "started by hand or for a job"
    return SyncStep(id=facts.id, action=SyncAction.KEEP, state=SyncState.KEPT, why=f"it was {maker}, not declared")


def _plan_of(facts: UnitFacts) -> WorkerPlan:
    return unit.plan_from_argv(facts.argv, memory_bytes=facts.memory_limit_bytes or 0, cpu_percent=facts.cpu_percent)


def ends(facts: UnitFacts) -> bool:
    """Say whether it is on its way out, and nobody can wake it again."""
    return facts.socket_state != "failed" and lifecycle.state(dataclasses.replace(facts, program_missing=False)) in (
        WorkerState.DRAINING,
        WorkerState.STOPPED,
    )


def _has_other_program(facts: UnitFacts, scene: Scene) -> bool:
    """Say whether it would start anew with another program, or another llama.cpp, than is there now."""
    now = scene.facts
    if facts.program_missing or (now.program and scene.real(facts.argv[0]) != scene.real(now.program)):
        return True
    if facts.limits is None or now.limits is None:
        return False
    return facts.limits.llama_lib != now.limits.llama_lib


def _differences(wanted: Wanted, facts: UnitFacts, scene: Scene) -> Iterator[str]:
    """Yield in what a worker is not as it is wanted, each as a clause with both values."""
    plan, spec, runs = wanted.plan, wanted.spec, _plan_of(facts)
    if plan is None:
        return
    # Kept by a setting alone it depends on the room that the disk has now, which is no change.
    told_to_keep = runs.keep or not plan.keep or bool(spec.keep)
    for each in dataclasses.fields(WorkerPlan):
        if each.name not in _PREDICTED | _OTHERWISE and (each.name != "keep" or told_to_keep):
            yield from _other_value(each.name, getattr(runs, each.name), getattr(plan, each.name))
    if plan.model == runs.model and [*map(scene.real, plan.files)] != [*map(scene.real, runs.files)]:
        yield f"the file of {plan.model} is {', '.join(runs.files)}, declared is {', '.join(plan.files)}"
    for model in [each for base, over in [parts_of(spec.model)] for each in (base, *over) if each in scene.fetched]:
        yield f"its model {model} was fetched anew"
    asked = filled(spec, scene.facts.usual_of(parts_of(plan.model)[0]))
    if asked.gpu is not None:
        yield from _other_value("gpu", runs.gpus or (runs.gpu,), (asked.gpu,))
    limit, declared = (each.memory_bytes if each.limited else None for each in (runs, plan))
    yield from _other_value("memory_bytes", limit, declared)
    if scene.facts.threads:
        yield from _other_value("threads", runs.threads, scene.facts.threads)
    if facts.limits is not None and scene.facts.limits is not None:
        for key in ("load_timeout_s", "stop_grace_s", "watchdog_s"):
            limit, declared = (getattr(limits, key) for limits in (facts.limits, scene.facts.limits))
            if limit is not None and declared is not None:
                yield from _other_value(key, round(limit, 3), round(declared, 3))


def _other_value(key: str, is_now: object, declared: object) -> Iterator[str]:
    if is_now != declared:
        yield f"{key} is {_word(is_now)}, declared is {_word(declared)}"


def _word(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(map(_word, value))
    return str(value)
