"""What a pool does, over ports: the logic that pool-managerd and a direct rbee-hive share."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence

from rbee.errors import Conflict, NotFound, RbeeError, ShuttingDown, WorkerLost
from rbee.pool_core import disk, held, inventory, ledger, lifecycle, names, placement
from rbee.pool_core.condition import Condition, Drain, bereft, drain_of, with_missing
from rbee.pool_core.declared import Declaration
from rbee.pool_core.planning import Planner
from rbee.pool_core.ports import (
    Checkout,
    DrainFlag,
    GpuProbe,
    HostProbe,
    LedgerBook,
    ModelStore,
    PoolFacts,
    Turn,
    UnitFacts,
    UnitManager,
    WorkerControl,
    WorkerPlan,
)
from rbee.pool_core.starting import Starter
from rbee.pool_core.syncing import Syncer
from rbee.wire.catalog import DownloadEvent, DownloadSpec, ImportSpec, ModelEntry, ModelFile, ModelPart, Verification
from rbee.wire.draining import DrainReason, why_draining
from rbee.wire.git import GitStatus, GitSubmodule, GitSyncSpec, GitUpdate
from rbee.wire.mixes import PLUS, parts_of
from rbee.wire.pools import Gpu, GpuInventory, PoolSnapshot
from rbee.wire.sync import SyncEvent, SyncSpec
from rbee.wire.workers import LogLine, SpawnEvent, WorkerSpec, WorkerState, WorkerStatus

ASLEEP_S = 15.0
"""How long a worker may take to fall asleep: so long, and what its disk takes if it keeps conversations."""


class PoolService:
    """PoolOps on this very host. Keeps no state: systemd, the disk and the drain flag do.

    Args:
        now_ms: the clock, milliseconds since the epoch.
        condition: what befalls the host, as long as a daemon is there to see it.
        declaration: what rbee.toml wants to be here.
        real: tells where a path leads, behind all links.
        warn: takes what somebody should know, as ``log.warning`` does.
    """

    def __init__(
        self,
        facts: PoolFacts,
        *,
        units: UnitManager,
        models: ModelStore,
        gpus: GpuProbe,
        host: HostProbe,
        book: LedgerBook,
        control: WorkerControl,
        flag: DrainFlag,
        checkout: Checkout,
        turn: Turn,
        now_ms: Callable[[], int],
        condition: Condition | None = None,
        declaration: Declaration | None = None,
        real: Callable[[str], str] = str,
        warn: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        self._facts = facts
        self._units, self._models, self._gpus, self._host = units, models, gpus, host
        self._book = book
        self._control, self._flag, self._checkout, self._now_ms = control, flag, checkout, now_ms
        self._condition = condition or Condition()
        self._planner = Planner(facts, models, host, warn)
        self._starter = Starter(facts, units, now_ms)
        self._syncer = Syncer(declaration or Declaration(), facts, self, turn, real)
        self._holding = asyncio.Lock()

    # The pool

    async def get_state(self) -> PoolSnapshot:
        facts, survey, drain = self._facts, await self._survey(), self._drain()
        news = ledger.learn(survey)
        if news:
            await self._book.note(news)
        return PoolSnapshot(
            id=facts.id,
            instance=facts.instance,
            url=facts.url,
            version=facts.version,
            at_ms=self._now_ms(),
            draining=drain is not None,
            drain_until_ms=drain.until_ms if drain else None,
            drain_reason=drain.reason if drain else None,
            backends=tuple(survey.backends),
            gpus=ledger.labelled(survey),
            host=survey.host,
            workers=ledger.told(survey),
            models=tuple(survey.models),
            devices=ledger.devices(survey),
            needs=ledger.needs(survey, facts),
        )

    async def snapshot_for_queen(self) -> PoolSnapshot:
        """Return the state with the workers' secrets; only for the authenticated heartbeat."""
        state = await self.get_state()
        secrets = {}
        for worker in state.workers:
            # A worker that is being stopped has none any more, and nobody should send it work.
            with contextlib.suppress(NotFound):
                secrets[worker.id] = await self._units.secret(worker.id)
        return dataclasses.replace(state, worker_secrets=secrets)

    async def list_gpus(self) -> GpuInventory:
        return ledger.labelled(await self._survey())

    async def drain_pool(self, deadline_s: float | None = None) -> None:
        """Refuse new work. With a deadline the queen lets what still runs then go on at other pools."""
        until_ms = None if deadline_s is None else self._now_ms() + int(deadline_s * 1000)
        self._flag.set(True, until_ms)

    async def undrain_pool(self) -> None:
        """End what the operator began. Raises ShuttingDown when there is another reason, which passes by itself."""
        self._flag.set(False)
        self._refuse_draining("goes on to drain")

    async def gpus_anew(self) -> GpuInventory:
        """Return the GPUs by a driver that was let go and opened again, as it must be after a sleep."""
        return await self._gpus.reopened()

    async def miss(self, gpus: Sequence[Gpu]) -> Mapping[str, str]:
        """Note which GPUs a sleep has cost; return the workers that were using those, for the caller to stop."""
        self._condition.missing = {gpu.uuid: gpu for gpu in gpus}
        casualties = bereft(await self.list_workers(), gpus)
        self._condition.casualties.update(casualties)
        return casualties

    # Workers

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever a worker has started or ended, also by itself; for whoever has to tell others."""
        return self._units.changes()

    async def list_workers(self) -> tuple[WorkerStatus, ...]:
        return ledger.told(await self._survey())

    async def get_worker(self, worker: str) -> WorkerStatus:
        facts = await self._require(worker)
        ended = await self._starter.own_exit(facts)
        known = next((each for each in await self.list_workers() if each.id == worker), lifecycle.status(facts))
        return dataclasses.replace(known, last_exit=ended)

    def spawn_worker(self, spec: WorkerSpec) -> AsyncIterator[SpawnEvent]:
        """Make the worker and wait until it is ready, telling how its model loads; ``lazy``: only its socket.

        Raises:
            ShuttingDown, ModelNotFound, BackendUnavailable, InsufficientMemory, InsufficientVram, NoCapacity,
            Conflict: nothing was made.
            WorkerOom, WorkerHung, Timeout, ModelLoadFailed, WorkerLost: it did not get ready, and was removed.
            NoManager: systemd was lost meanwhile; the worker may be there.
        """
        return self._spawned(spec, self._planner.plan)

    async def _spawned(
        self, spec: WorkerSpec, plan_of: Callable[[WorkerSpec, ledger.Survey], Awaitable[WorkerPlan]]
    ) -> AsyncIterator[SpawnEvent]:
        async with self._book.exclusive():  # until systemd says that it starts, and the ledger counts it
            self._refuse_draining()
            plan = await self._starter.create(await plan_of(spec, await self._survey()))
            self._condition.casualties.pop(plan.id, None)
            starting = self._starter.start(plan)
            begun = None if spec.lazy else await anext(starting, None)
        if begun is not None:
            yield begun
            async for event in starting:
                yield event
        made = await self.get_worker(plan.id)
        yield SpawnEvent(state="ready", progress=1.0, message=made.status, worker=made)

    async def stop_worker(self, worker: str) -> None:
        await self._units.stop(worker)

    async def drain_worker(self, worker: str) -> None:
        """Let it finish what it generates; then it exits, and as its socket is gone already nothing is left."""
        facts = await self._require(worker)
        state = lifecycle.state(facts)
        if state in (WorkerState.ASLEEP, WorkerState.FAILED, WorkerState.STOPPED, WorkerState.STARTING):
            await self._units.stop(worker)
            return
        secret = await self._units.secret(worker)
        await self._units.release(worker)
        try:
            await self._control.drain(lifecycle.status(facts).address, secret)
        except WorkerLost:  # it is falling asleep, so there is nothing to finish
            with contextlib.suppress(NotFound):
                await self._units.stop(worker)

    async def evict_worker(self, worker: str) -> None:
        """Let an idle worker exit now and free its memory; its socket stays, and the next request wakes it.

        Raises:
            NotFound: there is none.
            Conflict: it has work, is being loaded, drains, or is pinned.
        """
        facts = await self._require(worker)
        state = lifecycle.state(facts)
        if state in (WorkerState.ASLEEP, WorkerState.FAILED, WorkerState.STOPPED):
            return
        known = lifecycle.status(facts)
        if known.pinned:
            raise Conflict(f"worker {worker} is pinned", hint=f"rbee-hive worker stop {worker}")
        if state in (WorkerState.STARTING, WorkerState.DRAINING):
            raise Conflict(f"worker {worker} is {state}", hint="try again when it is idle")
        await self._control.sleep(known.address, await self._units.secret(worker))
        await self._units.until_asleep(worker, ASLEEP_S + await self._writing_s(known))

    async def worker_logs(self, worker: str, lines: int = 100) -> tuple[LogLine, ...]:
        found = await self._units.logs(names.check(worker), lines)
        if not found:
            await self._require(worker)
        return found

    # Models

    async def list_models(self) -> tuple[ModelFile, ...]:
        cached = await self._cached()
        return tuple(dataclasses.replace(model, cached=model.id in cached) for model in await self._models.list())

    async def list_catalog(self) -> tuple[ModelEntry, ...]:
        return await self._models.catalog()

    async def get_model(self, model: str) -> ModelFile:
        found = await self._models.find(model)
        if found is None:
            raise await self._models.absence(model)
        return dataclasses.replace(found, cached=found.id in await self._cached())

    async def model_parts(self, model: str) -> tuple[tuple[str, ModelPart], ...]:
        """Return path and description of each file of a model, for other pools to copy."""
        return await self._models.parts(model)

    def download_model(self, spec: DownloadSpec) -> AsyncIterator[DownloadEvent]:
        return self._models.download(spec.model)

    async def import_model(self, spec: ImportSpec) -> ModelFile:
        return await self._models.import_file(spec.path, spec.id)

    async def verify_model(self, model: str) -> Verification:
        return await self._models.verify(model)

    async def delete_model(self, model: str) -> None:
        async with self._book.exclusive():  # or a worker that is being made would not count as a user yet
            file = await self._models.find(model)
            if file is not None:  # what is not whole can be deleted all the same
                await self._require_unused(file)
            await self._models.delete(model if file is None else file.id)

    async def cache_model(self, model: str) -> ModelFile:
        """Hold its files in memory until ``uncache_model`` or a reboot; again is the same.

        Raises:
            ModelNotFound: it is not on this host.
            InsufficientMemory: too little would be left.
        """
        async with self._holding:
            file = await self.get_model(model)
            if not file.cached:
                promised = await self._promised_bytes(file.id)
                await self._units.hold(held.plan(file, await self._host.resources(), promised))
        return dataclasses.replace(file, cached=True)

    async def uncache_model(self, model: str) -> None:
        """Raises NotFound when it is not held."""
        file = await self._models.find(model)
        await self._units.release_model(model if file is None else file.id)

    # What is declared

    def sync(self, spec: SyncSpec) -> AsyncIterator[SyncEvent]:
        """Make what runs equal to what rbee.toml declares; see ``syncing.Syncer``."""
        return self._syncer.sync(spec)

    async def units(self) -> Sequence[UnitFacts]:
        return await self._units.list()

    async def has_model(self, reference: str) -> bool:
        return await self._models.find(reference) is not None

    async def unfetchable(self, reference: str) -> RbeeError | None:
        return await self._models.unfetchable(reference)

    async def survey(self) -> ledger.Survey:
        return await self._survey()

    async def outline(self, spec: WorkerSpec, survey: ledger.Survey) -> WorkerPlan:
        return await self._planner.outline(spec, survey)

    async def require_possible(self, spec: WorkerSpec) -> None:
        """Raise as a spawn would where the worker could not be made even while all others sleep."""
        self._refuse_draining()
        await self._planner.plan(spec, placement.while_all_sleep(await self._survey()))

    def spawn_declared(self, spec: WorkerSpec) -> AsyncIterator[SpawnEvent]:
        """As ``spawn_worker``. A lazy one needs no memory before its first request, which then has to find it."""
        return self._spawned(spec, self._planner.plan_declared)

    async def until_gone(self, worker: str, within_s: float) -> None:
        await self._units.until_gone(worker, within_s)

    def refusal(self, does: str = "is draining") -> ShuttingDown | None:
        """Return why no worker may be started now."""
        drain = self._drain()
        if drain is None:
            return None
        ours = drain.reason is DrainReason.OPERATOR
        return ShuttingDown(
            f"pool {self._facts.id} {does}: {why_draining(drain.reason)}",
            hint="rbee-hive undrain" if ours else "this passes by itself: rbee-hive status",
        )

    # The checkout

    async def git_status(self) -> GitStatus:
        return await self._checkout.status()

    async def git_submodules(self) -> tuple[GitSubmodule, ...]:
        return await self._checkout.submodules()

    async def git_pull(self) -> GitUpdate:
        return await self._checkout.pull()

    async def git_sync(self, spec: GitSyncSpec) -> GitUpdate:
        return await self._checkout.sync(spec.discard)

    # How

    async def _survey(self) -> ledger.Survey:
        """Look at everything that has to do with memory."""
        workers = await self._workers()
        found = await self._gpus.inventory()
        return ledger.Survey(
            models=await self.list_models(),
            workers=workers,
            inventory=with_missing(inventory.heeding(found, self._facts.gpu_limit_c), self._condition.missing),
            host=await self._host.resources(),
            resident=await self._host.resident([worker.pid for worker in workers if worker.pid is not None]),
            known=await self._book.known(),
            backends=inventory.backends(found),
        )

    async def _workers(self) -> list[WorkerStatus]:
        """Return the workers by their units alone, without what they take of memory."""
        return sorted((lifecycle.status(facts) for facts in await self._units.list()), key=lambda each: each.id)

    async def _require_unused(self, file: ModelFile) -> None:
        """
        Raises:
            Conflict: a worker has it, or it is held in memory.
        """
        users = [worker.id for worker in await self._workers() if file.id in worker.model.split(PLUS)]
        if users:
            raise Conflict(
                f"model {file.id} is used by {', '.join(users)}",
                hint=f"rbee-hive worker stop {users[0]}",
                details={"workers": users},
            )
        if file.id in [facts.model for facts in await self._units.held()]:  # or will be in a moment
            raise Conflict(f"model {file.id} is held in memory", hint=f"rbee-hive models uncache {file.id}")

    async def _writing_s(self, worker: WorkerStatus) -> float:
        """Return how long a worker may take to write down what it keeps."""
        model = await self._models.find(parts_of(worker.model)[0]) if worker.keep else None
        return placement.kept_bytes(worker, model) / disk.SLOW_BYTES_PER_S if model else 0.0

    async def _promised_bytes(self, but: str) -> int:
        """Return what models will take that somebody else has begun to hold."""
        begun = [
            facts.model for facts in await self._units.held() if facts.state == "activating" and facts.model != but
        ]
        found = [await self._models.find(model) for model in begun]
        return sum(model.size_bytes for model in found if model is not None)

    async def _cached(self) -> frozenset[str]:
        return frozenset(facts.model for facts in await self._units.held() if facts.state == "active")

    async def _require(self, worker: str) -> UnitFacts:
        facts = await self._units.find(worker)
        if facts is None and worker in self._condition.casualties:
            casualty = self._condition.casualties[worker]
            raise NotFound(casualty, hint="rbee-hive gpu status", details={"casualty": True})
        if facts is None:
            raise NotFound(f"no worker {worker}", hint="rbee-hive worker list")
        return facts

    def _drain(self) -> Drain | None:
        return drain_of(self._condition, self._flag)

    def _refuse_draining(self, does: str = "is draining") -> None:
        if (why := self.refusal(does)) is not None:
            raise why
