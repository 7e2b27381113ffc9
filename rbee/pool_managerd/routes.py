"""pool-managerd's routes: decode, call, encode. The operations themselves are ``wire.operations.POOL``."""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sanic import Request
from sanic.compat import stat_async
from sanic.handlers import ContentRangeHandler
from sanic.response import HTTPResponse, ResponseStream, file_stream

from rbee import log
from rbee.daemon import sse
from rbee.daemon.app import App, Handler, body, empty, limited, query, reply, wants_stream
from rbee.errors import NotFound, RbeeError
from rbee.pool_core.ops import PoolOps
from rbee.pool_core.service import PoolService
from rbee.pool_managerd.heartbeat import Heartbeat
from rbee.wire import codec
from rbee.wire.catalog import DownloadEvent, DownloadSpec, ImportSpec
from rbee.wire.envelope import to_envelope
from rbee.wire.fields import number
from rbee.wire.git import GitSyncSpec
from rbee.wire.pools import DrainSpec
from rbee.wire.sse import Frame
from rbee.wire.sync import SyncEvent, SyncSpec
from rbee.wire.workers import SpawnEvent, WorkerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    lines: int = number(low=1, high=10_000, default=100)


_CHUNK_BYTES = 1 << 20
Progress: TypeAlias = SpawnEvent | DownloadEvent | SyncEvent


def _service(request: Request) -> PoolService:
    service: PoolService = request.app.ctx.pool
    return service


def _pool(request: Request) -> PoolOps:
    pool: PoolOps = request.app.ctx.pool
    return pool


async def get_state(request: Request) -> HTTPResponse:
    # Whoever asks may be a queen that has just started and needs what only the heartbeat carries.
    request.app.ctx.heartbeat.changed()
    return reply(await _pool(request).get_state())


async def list_gpus(request: Request) -> HTTPResponse:
    return reply(await _pool(request).list_gpus())


async def list_workers(request: Request) -> HTTPResponse:
    return reply(await _pool(request).list_workers())


async def get_worker(request: Request, worker: str) -> HTTPResponse:
    return reply(await _pool(request).get_worker(worker))


async def spawn_worker(request: Request) -> HTTPResponse | None:
    events = _pool(request).spawn_worker(body(request, WorkerSpec))
    return await _followed(request, _logged(events), status=201)


async def _logged(events: AsyncIterator[SpawnEvent]) -> AsyncIterator[SpawnEvent]:
    """Yield ``events``, and log what came of them: where the worker is, and what it takes there."""
    async with contextlib.aclosing(events):  # type: ignore[type-var]  # each is a generator
        async for event in events:
            made = event.worker
            if made is not None:
                gpu, takes = ",".join(map(str, made.gpus)) or made.gpu, made.need_bytes
                where = made.backend.value
                log.event("worker.made", worker=made.id, model=made.model, backend=where, gpu=gpu, need_bytes=takes)
            yield event


async def stop_worker(request: Request, worker: str) -> HTTPResponse:
    await _pool(request).stop_worker(worker)
    return empty()


async def drain_worker(request: Request, worker: str) -> HTTPResponse:
    await _pool(request).drain_worker(worker)
    return empty()


async def evict_worker(request: Request, worker: str) -> HTTPResponse:
    await _pool(request).evict_worker(worker)
    return empty()


async def worker_logs(request: Request, worker: str) -> HTTPResponse:
    return reply(await _pool(request).worker_logs(worker, query(request, LogQuery).lines))


async def list_models(request: Request) -> HTTPResponse:
    return reply(await _pool(request).list_models())


async def list_catalog(request: Request) -> HTTPResponse:
    return reply(await _pool(request).list_catalog())


async def get_model(request: Request, model: str) -> HTTPResponse:
    return reply(await _pool(request).get_model(model))


async def download_model(request: Request) -> HTTPResponse | None:
    events = _pool(request).download_model(body(request, DownloadSpec))
    return await _followed(request, events, status=200)


async def import_model(request: Request) -> HTTPResponse:
    return reply(await _pool(request).import_model(body(request, ImportSpec)), status=201)


async def verify_model(request: Request, model: str) -> HTTPResponse:
    return reply(await _pool(request).verify_model(model))


async def delete_model(request: Request, model: str) -> HTTPResponse:
    await _pool(request).delete_model(model)
    return empty()


async def cache_model(request: Request, model: str) -> HTTPResponse:
    return reply(await _pool(request).cache_model(model))


async def uncache_model(request: Request, model: str) -> HTTPResponse:
    await _pool(request).uncache_model(model)
    return empty()


async def sync(request: Request) -> HTTPResponse | None:
    spec = body(request, SyncSpec)
    pool: PoolOps = request.app.ctx.declared(spec)
    try:
        return await _followed(request, pool.sync(spec), status=200)
    finally:
        if not spec.dry_run:
            request.app.ctx.synced()


async def git_status(request: Request) -> HTTPResponse:
    return reply(await _pool(request).git_status())


async def git_submodules(request: Request) -> HTTPResponse:
    return reply(await _pool(request).git_submodules())


async def git_pull(request: Request) -> HTTPResponse:
    return reply(await _pool(request).git_pull())


async def git_sync(request: Request) -> HTTPResponse:
    return reply(await _pool(request).git_sync(body(request, GitSyncSpec)))


async def drain_pool(request: Request) -> HTTPResponse:
    await _pool(request).drain_pool(body(request, DrainSpec).deadline_s)
    return empty()


async def undrain_pool(request: Request) -> HTTPResponse:
    await _pool(request).undrain_pool()
    return empty()


HANDLERS: Mapping[str, Handler] = {
    "get_state": get_state,
    "list_gpus": list_gpus,
    "list_workers": list_workers,
    "get_worker": get_worker,
    "spawn_worker": spawn_worker,
    "stop_worker": stop_worker,
    "drain_worker": drain_worker,
    "evict_worker": evict_worker,
    "worker_logs": worker_logs,
    "list_models": list_models,
    "list_catalog": list_catalog,
    "get_model": get_model,
    "download_model": download_model,
    "import_model": import_model,
    "verify_model": verify_model,
    "delete_model": delete_model,
    "cache_model": cache_model,
    "uncache_model": uncache_model,
    "sync": sync,
    "git_status": git_status,
    "git_submodules": git_submodules,
    "git_pull": git_pull,
    "git_sync": git_sync,
    "drain_pool": drain_pool,
    "undrain_pool": undrain_pool,
}


async def list_parts(request: Request, model: str) -> HTTPResponse:
    """For other pools, which copy the model."""
    return reply([part for _, part in await _service(request).model_parts(model)])


async def read_part(request: Request, model: str, part: str) -> ResponseStream:
    """Send the bytes of one file, from where a Range header says."""
    parts = await _service(request).model_parts(model)
    if not re.fullmatch(r"[0-9]{1,6}", part) or int(part) >= len(parts):
        raise NotFound(f"model {model} has {len(parts)} parts, and no {part[:20]!r}")
    path = parts[int(part)][0]
    wanted = ContentRangeHandler(request, await stat_async(path)) if "range" in request.headers else None
    return await file_stream(path, chunk_size=_CHUNK_BYTES, mime_type="application/octet-stream", _range=wanted)


def add_part_routes(app: App) -> None:
    """Give the application what is no operation of a person's: pools copy models from each other."""
    app.add_route(limited("list_parts", list_parts), "/v2/models/<model>/parts", name="list_parts")
    reading = limited("read_part", read_part)  # type: ignore[arg-type]  # Sanic streams it after this
    app.add_route(reading, "/v2/models/<model>/parts/<part>", name="read_part")


def announcing(handler: Handler) -> Handler:
    """Return ``handler`` so that the queen hears what it changed, before its caller does if it succeeded."""

    async def announced(request: Request, **path: str) -> HTTPResponse | None:
        if request.method == "GET":
            return await handler(request, **path)
        heartbeat: Heartbeat = request.app.ctx.heartbeat
        try:
            answer = await handler(request, **path)
        except BaseException:
            heartbeat.changed()
            raise
        if answer is not None:
            await heartbeat.tell()
        return answer

    return announced


async def _followed(request: Request, events: AsyncIterator[Progress], *, status: int) -> HTTPResponse | None:
    """Answer with the stream when it was asked for, else with what its last event holds."""
    if wants_stream(request):
        await sse.stream(request, _frames(request, events))
        return None
    last: Progress | None = None
    async for event in events:
        last = event
    match last:
        case SpawnEvent(worker=result) | DownloadEvent(model=result) | SyncEvent(outcome=result):
            return reply(result, status=status)
    raise RbeeError("the operation ended without a result")


async def _frames(request: Request, events: AsyncIterator[Progress]) -> AsyncIterator[Frame]:
    """Name each event ``progress``, or by its state when it is the last; a failure on the way is the event ``error``.

    A failure before the first event goes up, and is answered with its own status.
    """
    begun = False
    try:
        async for event in events:
            begun = True
            if _word(event) != "progress":
                await request.app.ctx.heartbeat.tell()
            yield Frame(event=_word(event), data=codec.dump_json(event))
    except RbeeError as error:
        request.app.ctx.heartbeat.changed()
        if not begun:
            raise
        envelope = to_envelope(error, request_id=request.ctx.request_id, source=request.app.ctx.source)
        yield Frame(event="error", data=codec.dump_json(envelope))
    finally:
        with contextlib.suppress(AttributeError):
            await events.aclose()  # type: ignore[attr-defined]


def _word(event: Progress) -> str:
    match event:
        case SpawnEvent(worker=None) | DownloadEvent(model=None) | SyncEvent(outcome=None):
            return "progress"
    return event.state
