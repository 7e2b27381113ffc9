"""What somebody asks for and what is on this host, put together for ``placement``: the plan of a worker."""

import dataclasses
from collections.abc import Callable, Sequence

from rbee.errors import InsufficientDisk, InsufficientMemory, InsufficientVram, ModelNotFound
from rbee.pool_core import names, placement
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import HostProbe, ModelStore, PoolFacts, WorkerPlan
from rbee.wire.catalog import ModelFile
from rbee.wire.mixes import parts_of
from rbee.wire.workers import WorkerSpec


class Planner:
    """Finds the files that a worker needs, and decides its numbers by a survey.

    Args:
        warn: takes what somebody should know, as ``log.warning`` does.
    """

    def __init__(self, facts: PoolFacts, models: ModelStore, host: HostProbe, warn: Callable[..., None]) -> None:
        self._facts, self._models, self._host, self._warn = facts, models, host, warn

    async def plan(self, spec: WorkerSpec, survey: Survey) -> WorkerPlan:
        """Return the plan. Raises as ``placement.decide``, and ModelNotFound, InsufficientDisk."""
        if spec.id is not None:
            names.check(spec.id)
        model, adapters = await self._files(spec)
        plan = placement.decide(spec, model, adapters, facts=self._facts, survey=survey)
        return await self._with_room_to_keep(plan, spec, model)

    async def plan_declared(self, spec: WorkerSpec, survey: Survey) -> WorkerPlan:
        """As ``plan``. A lazy one needs no memory before its first request, which then has to find it."""
        try:
            plan = await self.plan(spec, survey)
        except (InsufficientMemory, InsufficientVram):
            if not spec.lazy:
                raise
            plan = await self.plan(spec, placement.while_all_sleep(survey))
        return dataclasses.replace(plan, declared=True)

    async def outline(self, spec: WorkerSpec, survey: Survey) -> WorkerPlan:
        """Return the plan as far as it does not depend on what memory is free. Raises as ``placement.outline``."""
        model, adapters = await self._files(spec)
        return placement.outline(spec, model, adapters, facts=self._facts, survey=survey)

    async def _files(self, spec: WorkerSpec) -> tuple[ModelFile, Sequence[ModelFile]]:
        base, over = parts_of(spec.model)
        model = await self._models.find(base)
        if model is None:
            raise await self._models.absence(base)
        return model, [await self._adapter(each, model) for each in over]

    async def _adapter(self, name: str, base: ModelFile) -> ModelFile:
        found = await self._models.find(name)
        if found is None:
            raise ModelNotFound(
                f"adapter {name} for {base.id} is not on this host", hint=f"rbee-hive models download {name}"
            )
        return found

    async def _with_room_to_keep(self, plan: WorkerPlan, spec: WorkerSpec, model: ModelFile) -> WorkerPlan:
        if not plan.keep:
            return plan
        try:
            placement.require_room_to_keep(plan, model, await self._host.room_to_keep())
        except InsufficientDisk as error:
            if spec.keep:
                raise
            # Nobody asked for it in particular, and a worker that forgets is more than none.
            self._warn("worker.keeps_nothing", model=plan.model, reason=error.message)
            return dataclasses.replace(plan, keep=False)
        return plan
