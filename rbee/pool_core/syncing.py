"""What runs is made equal to what rbee.toml declares: one step after the other, told as they are taken."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from rbee.errors import NotFound, RbeeError, Timeout
from rbee.pool_core import declared
from rbee.pool_core.declared import SYNC, Declaration, Scene, Wanted
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import PoolFacts, Turn, UnitFacts, WorkerPlan
from rbee.wire.catalog import DownloadEvent, DownloadSpec
from rbee.wire.envelope import error_for
from rbee.wire.mixes import parts_of
from rbee.wire.sync import SyncAction, SyncEvent, SyncOutcome, SyncSpec, SyncState, SyncStep
from rbee.wire.workers import SpawnEvent, WorkerSpec

USUAL_GRACE_S = 30.0
MARGIN_S = 10.0
"""A worker that has answered all still writes down what it keeps, and systemd has to forget it."""

_GOES = (SyncAction.STOP, SyncAction.REPLACE)
_COMES = (SyncAction.REPLACE, SyncAction.START)


class Hands(Protocol):
    """What steps are taken with: ``PoolService``."""

    async def units(self) -> Sequence[UnitFacts]: ...
    async def has_model(self, reference: str) -> bool: ...
    async def unfetchable(self, reference: str) -> RbeeError | None:
        """Return why no download can bring a model; None where one may."""

    async def survey(self) -> Survey: ...
    async def outline(self, spec: WorkerSpec, survey: Survey) -> WorkerPlan:
        """Return the plan of a worker as far as what is free has no say. Raises as a spawn would."""

    async def require_possible(self, spec: WorkerSpec) -> None:
        """Raise as a spawn would where the worker could not be made even while all others sleep."""

    def refusal(self) -> RbeeError | None:
        """Return why nothing may be started now."""

    def spawn_declared(self, spec: WorkerSpec) -> AsyncIterator[SpawnEvent]: ...
    def download_model(self, spec: DownloadSpec) -> AsyncIterator[DownloadEvent]: ...
    async def drain_worker(self, worker: str) -> None: ...
    async def until_gone(self, worker: str, within_s: float) -> None: ...


class Syncer:
    """
    Args:
        real: tells where a path leads, behind all links.
    """

    def __init__(
        self, declaration: Declaration, facts: PoolFacts, hands: Hands, turn: Turn, real: Callable[[str], str]
    ) -> None:
        self._declaration, self._facts = declaration, facts
        self._hands, self._turn, self._real = hands, turn, real

    async def sync(self, spec: SyncSpec) -> AsyncIterator[SyncEvent]:
        """Take all steps that can be taken; the last event has the outcome. With ``dry_run`` it is all there is.

        Where another sync goes on, this one waits for its end.
        """
        if spec.dry_run:
            yield SyncEvent(state="done", progress=1.0, outcome=await self._foreseen(spec))
            return
        yield SyncEvent(state="progress", message="looking at what runs")  # its turn may take a while to come
        async with self._turn.exclusive():
            made: list[SyncStep] = []
            fetched: list[SyncStep] = []
            scene = await self._look({})
            if scene.missing:  # whoever has his model waits for nobody's download
                others = declared.without(self._planned(scene, spec), scene.waiting())
                async with contextlib.aclosing(self._taken(others, scene, made)) as events:
                    async for event in events:
                        yield event
                async with contextlib.aclosing(self._fetched(scene.missing, fetched)) as events:
                    async for event in events:
                        yield event
                scene = await self._look({step.id: _error_of(step) for step in fetched if step.error is not None})
                came = [step.id for step in fetched if step.error is None]
                scene = dataclasses.replace(scene, fetched=came)
            outcome = declared.without(self._planned(scene, spec), {step.id for step in made})
            async with contextlib.aclosing(self._taken(outcome, scene, made)) as events:
                async for event in events:
                    yield event
            steps = [*fetched, *made, *(step for step in outcome.steps if not _is_to_do(step))]
            yield SyncEvent(
                state="done",
                progress=1.0,
                outcome=dataclasses.replace(outcome, steps=tuple(sorted(steps, key=declared.order))),
            )

    async def _foreseen(self, spec: SyncSpec) -> SyncOutcome:
        """Return what would be done, and what would be refused as far as that can be known before."""
        refused = {model: why for model in await self._missing() if (why := await self._hands.unfetchable(model))}
        scene = await self._look(refused)
        fetched = [declared.failed(declared.to_fetch(model), why) for model, why in refused.items()]
        outcome = self._planned(scene, spec)
        here, specs = _by_id(scene)
        steps = [await self._possible(s, here[s.id], specs.get(s.id)) if s.id in here else s for s in outcome.steps]
        return dataclasses.replace(outcome, steps=tuple(sorted([*fetched, *steps], key=declared.order)), dry_run=True)

    async def _fetched(self, models: Sequence[str], made: list[SyncStep]) -> AsyncGenerator[SyncEvent, None]:
        for model in models:
            step = declared.to_fetch(model)
            try:
                async for event in self._hands.download_model(DownloadSpec(model=model)):
                    share = event.bytes_done / event.bytes_total if event.bytes_total else None
                    yield SyncEvent(state="progress", message=f"fetching {model}", progress=share, step=step)
                step = dataclasses.replace(step, state=SyncState.DONE)
            except RbeeError as error:
                step = declared.failed(step, error)
            made.append(step)
            yield SyncEvent(state="progress", message=_told(step), step=step)

    async def _taken(self, outcome: SyncOutcome, scene: Scene, made: list[SyncStep]) -> AsyncGenerator[SyncEvent, None]:
        """End what goes, all at once, then start what comes, one after the other: it may want the memory."""
        to_do = [step for step in outcome.steps if _is_to_do(step)]
        here, specs = _by_id(scene)
        left: dict[str, SyncStep] = {}
        going = [step for step in to_do if step.action in _GOES]
        async with contextlib.aclosing(self._gone(going, here, specs)) as ended:
            async for step in ended:
                if step.error is None and step.action is SyncAction.REPLACE:
                    left[step.id] = step
                    continue
                made.append(step)
                yield SyncEvent(state="progress", message=_told(step), step=step)
        for step in [step for step in to_do if step.action is SyncAction.START or step.id in left]:
            facts = here.get(step.id)
            wanted = specs[step.id]
            if facts is not None and declared.is_asleep(facts):  # who slept sleeps on
                wanted = dataclasses.replace(wanted, lazy=True)
            async with contextlib.aclosing(self._started(step, wanted, made)) as events:
                async for event in events:
                    yield event

    async def _started(
        self, step: SyncStep, wanted: WorkerSpec, made: list[SyncStep]
    ) -> AsyncGenerator[SyncEvent, None]:
        try:
            async for event in self._hands.spawn_declared(wanted):
                if event.worker is None:
                    yield SyncEvent(state="progress", message=f"starting {step.id}", progress=event.progress, step=step)
            step = dataclasses.replace(step, state=SyncState.DONE)
        except RbeeError as error:
            step = declared.failed(step, error)
        made.append(step)
        yield SyncEvent(state="progress", message=_told(step), step=step)

    async def _gone(
        self, steps: Sequence[SyncStep], here: Mapping[str, UnitFacts], specs: Mapping[str | None, WorkerSpec]
    ) -> AsyncGenerator[SyncStep, None]:
        """Yield each step when its worker is gone, or as one that failed."""
        tasks = {asyncio.create_task(self._end(step, here[step.id], specs.get(step.id))) for step in steps}
        try:
            while tasks:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def _end(self, step: SyncStep, facts: UnitFacts, following: WorkerSpec | None) -> SyncStep:
        """End a worker, where what is to follow can be made."""
        step = await self._possible(step, facts, following)
        if step.error is not None:
            return step
        limits = self._facts.limits
        grace_s = (limits.stop_grace_s if limits is not None else None) or USUAL_GRACE_S
        try:
            if not (declared.ends(facts) and declared.is_told(facts)):
                with contextlib.suppress(NotFound):
                    await self._hands.drain_worker(step.id)
            await self._hands.until_gone(step.id, grace_s + MARGIN_S)
        except Timeout:
            late = Timeout(
                f"worker {step.id} still has work after {grace_s + MARGIN_S:.0f} s: it ends when that is done",
                hint=f"then: {SYNC}",
            )
            return declared.failed(step, late)
        except RbeeError as error:
            return declared.failed(step, error)
        return dataclasses.replace(step, state=SyncState.DONE)

    async def _possible(self, step: SyncStep, facts: UnitFacts, following: WorkerSpec | None) -> SyncStep:
        """Return the step; for a worker that no other could replace, even if nobody else had memory, that it stays."""
        if not (_is_to_do(step) and step.action is SyncAction.REPLACE) or following is None or declared.ends(facts):
            return step
        try:
            await self._hands.require_possible(following)
        except RbeeError as error:
            stays = dataclasses.replace(step, action=SyncAction.KEEP, why=f"it stays as it is: {step.why}")
            return declared.failed(stays, error)
        return step

    # Looking

    async def _look(self, troubles: Mapping[str, RbeeError]) -> Scene:
        missing = [model for model in await self._missing() if model not in troubles]
        return Scene(
            wanted=await self._all_wanted(missing, troubles),
            missing=missing,
            here=await self._hands.units(),
            facts=self._facts,
            real=self._real,
        )

    async def _missing(self) -> list[str]:
        """Return which models are not here. One that is here and broken is its worker's problem."""
        found = []
        for model in self._declaration.references():
            with contextlib.suppress(RbeeError):
                if not await self._hands.has_model(model):
                    found.append(model)
        return found

    async def _all_wanted(self, missing: Collection[str], troubles: Mapping[str, RbeeError]) -> list[Wanted]:
        specs = self._declaration.specs()
        if not specs:
            return []
        survey = await self._hands.survey()
        return [await self._wanted(spec, survey, missing, troubles) for spec in specs]

    async def _wanted(
        self, spec: WorkerSpec, survey: Survey, missing: Collection[str], troubles: Mapping[str, RbeeError]
    ) -> Wanted:
        base, over = parts_of(spec.model)
        for model in (base, *over):
            if model in troubles:
                why = troubles[model]
                told = f"its model {model} could not be fetched: {why.message}"
                return Wanted(spec=spec, problem=error_for(why.code, told, hint=why.hint, details=why.details))
            if model in missing:
                return Wanted(spec=spec)
        try:
            return Wanted(spec=spec, plan=await self._hands.outline(spec, survey))
        except RbeeError as error:
            return Wanted(spec=spec, problem=error)

    def _planned(self, scene: Scene, spec: SyncSpec) -> SyncOutcome:
        """Return the plan; for a pool that may start nothing now what would be replaced stays as well."""
        outcome = declared.plan(scene, prune=spec.prune)
        why = self._hands.refusal()
        if why is None:
            return outcome
        steps = (declared.failed(s, why) if s.action in _COMES and _is_to_do(s) else s for s in outcome.steps)
        return dataclasses.replace(outcome, steps=tuple(steps))


def failures(outcome: SyncOutcome) -> Iterator[tuple[SyncStep, RbeeError]]:
    """Yield the steps that failed, with why."""
    for step in outcome.steps:
        if step.error is not None:
            yield step, _error_of(step)


def _error_of(step: SyncStep) -> RbeeError:
    told = dict(step.error or {})
    kept = {key: told[key] for key in ("hint", "details", "source") if key in told}
    return error_for(str(told.get("code", "")), str(told.get("message", "")), **kept)


def _by_id(scene: Scene) -> tuple[Mapping[str, UnitFacts], Mapping[str | None, WorkerSpec]]:
    """Return the workers that are here, and what is wanted."""
    return {facts.id: facts for facts in scene.here}, {each.spec.id: each.spec for each in scene.wanted}


def _is_to_do(step: SyncStep) -> bool:
    return step.state is SyncState.PLANNED


_DONE = {
    SyncAction.FETCH: "is here",
    SyncAction.STOP: "is stopped",
    SyncAction.REPLACE: "is made anew",
    SyncAction.START: "is started",
}


def _told(step: SyncStep) -> str:
    """Return what came of a step."""
    if step.error is not None:
        return f"{step.id}: {step.error['message']}"
    return f"{step.id} {_DONE.get(step.action, step.why)}"
