"""A pool over HTTP: every operation of ``wire.operations.POOL``, with the errors it would raise at home."""

from collections.abc import AsyncIterator

from rbee.client.endpoint import part
from rbee.client.operations import Operations
from rbee.wire.catalog import DownloadEvent, DownloadSpec, ImportSpec, ModelEntry, ModelFile, Verification
from rbee.wire.git import GitStatus, GitSubmodule, GitSyncSpec, GitUpdate
from rbee.wire.pools import DrainSpec, GpuInventory, PoolSnapshot
from rbee.wire.sync import SyncEvent, SyncSpec
from rbee.wire.workers import LogLine, SpawnEvent, WorkerSpec, WorkerStatus

HASHING_S = 3600.0
"""Reading every byte of a large model again takes as long as the disk takes."""
STOPPING_S = 120.0
FALLING_ASLEEP_S = 3600.0
"""The pool knows how much a worker may write before it sleeps, and gives up first."""


class PoolClient(Operations):
    """``PoolOps`` at the other end of ``http``."""

    async def get_state(self) -> PoolSnapshot:
        return await self._get(PoolSnapshot, "/v2/state")

    async def list_gpus(self) -> GpuInventory:
        return await self._get(GpuInventory, "/v2/gpus")

    async def list_workers(self) -> tuple[WorkerStatus, ...]:
        return await self._list(WorkerStatus, "/v2/workers")

    async def get_worker(self, worker: str) -> WorkerStatus:
        return await self._get(WorkerStatus, f"/v2/workers/{part(worker)}")

    async def spawn_worker(self, spec: WorkerSpec) -> AsyncIterator[SpawnEvent]:
        async for event in self._follow(SpawnEvent, "/v2/workers", spec):
            yield event

    async def stop_worker(self, worker: str) -> None:
        await self._http.call("DELETE", f"/v2/workers/{part(worker)}", timeout_s=STOPPING_S)

    async def drain_worker(self, worker: str) -> None:
        await self._http.call("POST", f"/v2/workers/{part(worker)}/drain", timeout_s=HASHING_S)

    async def evict_worker(self, worker: str) -> None:
        await self._http.call("POST", f"/v2/workers/{part(worker)}/evict", timeout_s=FALLING_ASLEEP_S)

    async def worker_logs(self, worker: str, lines: int = 100) -> tuple[LogLine, ...]:
        return await self._list(LogLine, f"/v2/workers/{part(worker)}/logs", {"lines": lines})

    async def list_models(self) -> tuple[ModelFile, ...]:
        return await self._list(ModelFile, "/v2/models")

    async def list_catalog(self) -> tuple[ModelEntry, ...]:
        return await self._list(ModelEntry, "/v2/catalog")

    async def get_model(self, model: str) -> ModelFile:
        return await self._get(ModelFile, f"/v2/models/{part(model)}")

    async def download_model(self, spec: DownloadSpec) -> AsyncIterator[DownloadEvent]:
        async for event in self._follow(DownloadEvent, "/v2/models", spec):
            yield event

    async def import_model(self, spec: ImportSpec) -> ModelFile:
        return await self._post(ModelFile, "/v2/models/import", spec, timeout_s=HASHING_S)

    async def verify_model(self, model: str) -> Verification:
        return await self._post(Verification, f"/v2/models/{part(model)}/verify", timeout_s=HASHING_S)

    async def delete_model(self, model: str) -> None:
        await self._http.call("DELETE", f"/v2/models/{part(model)}")

    async def cache_model(self, model: str) -> ModelFile:
        return await self._post(ModelFile, f"/v2/models/{part(model)}/cache", timeout_s=HASHING_S)

    async def uncache_model(self, model: str) -> None:
        await self._http.call("DELETE", f"/v2/models/{part(model)}/cache")

    async def sync(self, spec: SyncSpec) -> AsyncIterator[SyncEvent]:
        async for event in self._follow(SyncEvent, "/v2/sync", spec):
            yield event

    async def git_status(self) -> GitStatus:
        return await self._get(GitStatus, "/v2/git/status")

    async def git_submodules(self) -> tuple[GitSubmodule, ...]:
        return await self._list(GitSubmodule, "/v2/git/submodules")

    async def git_pull(self) -> GitUpdate:
        return await self._post(GitUpdate, "/v2/git/pull", timeout_s=HASHING_S)

    async def git_sync(self, spec: GitSyncSpec) -> GitUpdate:
        return await self._post(GitUpdate, "/v2/git/sync", spec, timeout_s=HASHING_S)

    async def drain_pool(self, deadline_s: float | None = None) -> None:
        await self._http.call("POST", "/v2/drain", body=DrainSpec(deadline_s=deadline_s))

    async def undrain_pool(self) -> None:
        await self._http.call("POST", "/v2/undrain")
