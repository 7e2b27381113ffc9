"""A pool over HTTP: every operation of ``wire.operations.POOL``, with the errors it would raise at home."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from rbee.client.endpoint import Transport, part
from rbee.errors import RbeeError
from rbee.wire import codec
from rbee.wire.catalog import DownloadEvent, DownloadSpec, ImportSpec, ModelEntry, ModelFile, Verification
from rbee.wire.envelope import from_envelope
from rbee.wire.git import GitStatus, GitSubmodule, GitSyncSpec, GitUpdate
from rbee.wire.pools import GpuInventory, PoolSnapshot
from rbee.wire.sse import Frame
from rbee.wire.workers import LogLine, SpawnEvent, WorkerSpec, WorkerStatus

T = TypeVar("T")
HASHING_S = 3600.0
"""Reading every byte of a large model again takes as long as the disk takes."""
STOPPING_S = 120.0


class PoolClient:
    """``PoolOps`` at the other end of ``http``."""

    def __init__(self, http: Transport) -> None:
        self._http = http

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

    async def worker_logs(self, worker: str, lines: int = 100) -> tuple[LogLine, ...]:
        path = f"/v2/workers/{part(worker)}/logs"
        return _each(LogLine, await self._http.call("GET", path, params={"lines": lines}))

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
        answer = await self._http.call("POST", "/v2/models/import", body=spec, timeout_s=HASHING_S)
        return codec.from_dict(ModelFile, answer, lenient=True)

    async def verify_model(self, model: str) -> Verification:
        answer = await self._http.call("POST", f"/v2/models/{part(model)}/verify", timeout_s=HASHING_S)
        return codec.from_dict(Verification, answer, lenient=True)

    async def delete_model(self, model: str) -> None:
        await self._http.call("DELETE", f"/v2/models/{part(model)}")

    async def cache_model(self, model: str) -> ModelFile:
        answer = await self._http.call("POST", f"/v2/models/{part(model)}/cache", timeout_s=HASHING_S)
        return codec.from_dict(ModelFile, answer, lenient=True)

    async def uncache_model(self, model: str) -> None:
        await self._http.call("DELETE", f"/v2/models/{part(model)}/cache")

    async def git_status(self) -> GitStatus:
        return await self._get(GitStatus, "/v2/git/status")

    async def git_submodules(self) -> tuple[GitSubmodule, ...]:
        return await self._list(GitSubmodule, "/v2/git/submodules")

    async def git_pull(self) -> GitUpdate:
        return codec.from_dict(
            GitUpdate, await self._http.call("POST", "/v2/git/pull", timeout_s=HASHING_S), lenient=True
        )

    async def git_sync(self, spec: GitSyncSpec) -> GitUpdate:
        answer = await self._http.call("POST", "/v2/git/sync", body=spec, timeout_s=HASHING_S)
        return codec.from_dict(GitUpdate, answer, lenient=True)

    async def drain_pool(self) -> None:
        await self._http.call("POST", "/v2/drain")

    async def undrain_pool(self) -> None:
        await self._http.call("POST", "/v2/undrain")

    async def _get(self, kind: type[T], path: str) -> T:
        return codec.from_dict(kind, await self._http.call("GET", path), lenient=True)

    async def _list(self, kind: type[T], path: str) -> tuple[T, ...]:
        return _each(kind, await self._http.call("GET", path))

    async def _follow(self, kind: type[T], path: str, body: Any) -> AsyncIterator[T]:
        """Yield the events of an operation that takes its time; the event ``error`` is raised as what it is.

        Raises:
            RbeeError: as the other side did; internal when the stream ends without a last event.
        """
        frame: Frame | None = None
        async for frame in self._http.stream("POST", path, body=body):
            data = codec.parse_json(frame.data.encode())
            if frame.event == "error":
                raise from_envelope(data, status=500, source=self._http.source)
            yield codec.from_dict(kind, data, lenient=True)
        if frame is None or frame.event == "progress":
            raise RbeeError(f"{self._http.source} ended the stream of {path} before its result", hint="try again")


def _each(kind: type[T], rows: Any) -> tuple[T, ...]:
    return tuple(codec.from_dict(kind, row, lenient=True) for row in rows)
