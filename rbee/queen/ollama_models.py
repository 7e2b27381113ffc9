"""Ollama's routes about models: which there are, which are awake, what one is, and how another comes here."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sanic import Request
from sanic.response import HTTPResponse

from rbee import __version__, log
from rbee.daemon import failures, ndjson
from rbee.daemon.app import reply
from rbee.daemon.closing import closing
from rbee.errors import InvalidRequest, NotPermitted
from rbee.orchestrator_core.homes import home_of
from rbee.queen.models import askable, file_of, files
from rbee.queen.queen import Queen
from rbee.queen.routes import service
from rbee.wire import codec, ollama
from rbee.wire.catalog import DownloadSpec, ModelFile
from rbee.wire.workers import WorkerState, WorkerStatus

AWAKE = (WorkerState.READY, WorkerState.BUSY)


async def greet(_: Request) -> HTTPResponse:
    """Answer whoever looks whether somebody is here; Ollama's clients look no closer."""
    return HTTPResponse("rbee is running", content_type="text/plain; charset=utf-8")


async def ollama_version(_: Request) -> HTTPResponse:
    return reply({"version": __version__})


async def ollama_tags(request: Request) -> HTTPResponse:
    """List what can be asked for."""
    queen: Queen = request.app.ctx.queen
    await queen.pools.spoken()
    return reply(ollama.tags(sorted(askable(queen.jobs.names, queen.pools.view()).items())))


async def ollama_ps(request: Request) -> HTTPResponse:
    """List the workers that are awake, and when each will sleep if nobody wants it meanwhile."""
    queen: Queen = request.app.ctx.queen
    view, now = queen.dispatcher.view(), datetime.now(UTC)
    awake = [worker for worker in await service(request).list_workers() if worker.state in AWAKE]

    def until(worker: WorkerStatus) -> datetime:
        idle_s = view.idle_s((worker.pool or "", worker.id))
        return now + timedelta(seconds=max(0.0, worker.idle_s - (0.0 if idle_s == float("inf") else idle_s)))

    def file(worker: WorkerStatus) -> ModelFile | None:
        return next(files(queen.jobs.names, [queen.pools.find(worker.pool or "")], worker.model), None)

    return reply(ollama.running((worker, file(worker), until(worker)) for worker in awake))


async def ollama_show(request: Request) -> HTTPResponse:
    queen: Queen = request.app.ctx.queen
    called = ollama.parse_name(codec.parse_json(request.body))
    await queen.pools.spoken()
    file = file_of(queen.jobs.names, queen.pools.view(), ollama.name_of(called))
    return reply(ollama.shown(called, file))


async def ollama_pull(request: Request) -> HTTPResponse | None:
    """Have a pool download a model: the one that has it, or else the one with most room on its disk."""
    queen: Queen = request.app.ctx.queen
    only_operator(request, "download models")
    wanted = ollama.parse_pull(codec.parse_json(request.body))
    model = queen.jobs.names.canonical(wanted.model)
    pool = home_of(model, queen.pools.view(), queen.jobs.names)
    log.event("model.pull", model=model, pool=pool, request_id=request.ctx.request_id)
    lines = _pulling(queen, model, pool)
    if wanted.stream:
        await ndjson.stream(request, failures.inside(lines, ollama.error_body))
        return None
    async with closing(lines) as told:
        return reply([line async for line in told][-1])


async def ollama_cannot(request: Request, **_: str) -> HTTPResponse:
    """Refuse what the queen has no operation for."""
    hint = "rbee-keeper pool models download|delete|list --host H" if "blobs" not in request.path else ""
    raise InvalidRequest(f"{request.method} {request.path[:80]} is nothing the queen does", hint=hint)


ROUTES = (
    ("GET", "/", greet),
    ("HEAD", "/", greet),
    ("GET", "/api/version", ollama_version),
    ("HEAD", "/api/version", ollama_version),
    ("GET", "/api/tags", ollama_tags),
    ("HEAD", "/api/tags", ollama_tags),
    ("GET", "/api/ps", ollama_ps),
    ("POST", "/api/show", ollama_show),
    ("POST", "/api/pull", ollama_pull),
    ("DELETE", "/api/delete", ollama_cannot),
    ("POST", "/api/copy", ollama_cannot),
    ("POST", "/api/create", ollama_cannot),
    ("POST", "/api/push", ollama_cannot),
    ("HEAD", "/api/blobs/<digest>", ollama_cannot),
    ("POST", "/api/blobs/<digest>", ollama_cannot),
)


def only_operator(request: Request, what: str) -> None:
    """Raises NotPermitted."""
    if request.ctx.caller:
        raise NotPermitted(
            f"caller {request.ctx.caller} may not {what}", hint="this takes the fleet token; ask the operator"
        )


async def _pulling(queen: Queen, model: str, pool: str) -> AsyncIterator[dict[str, Any]]:
    began_s = time.monotonic()
    async with closing(queen.pools.client(pool).download_model(DownloadSpec(model=model))) as events:
        async for event in events:
            yield ollama.pulled(event, model)
    log.event("model.pulled", model=model, pool=pool, took_s=round(time.monotonic() - began_s, 1))
