"""Ollama's routes that make a model say or read something. A request is a job like any other, its caller's own."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from sanic import Request
from sanic.response import HTTPResponse

from rbee import log
from rbee.daemon import failures, ndjson
from rbee.daemon.app import App, limited, reply
from rbee.daemon.closing import closing
from rbee.errors import RbeeError
from rbee.orchestrator_core.admission import context_of
from rbee.queen import asking, ollama_models
from rbee.queen.ollama_models import AWAKE, only_operator
from rbee.queen.queen import Queen
from rbee.wire import codec, ollama
from rbee.wire.events import JobEvent
from rbee.wire.jobs import JobSpec, Message, Role


async def ollama_chat(request: Request) -> HTTPResponse | None:
    return await _say(request, ollama.parse_chat(codec.parse_json(request.body)))


async def ollama_generate(request: Request) -> HTTPResponse | None:
    return await _say(request, ollama.parse_generate(codec.parse_json(request.body)))


async def ollama_embed(request: Request) -> HTTPResponse:
    wanted = ollama.parse_embed(codec.parse_json(request.body))
    took_ns = _since_now()
    found, end = await _embed(request, wanted)
    took = took_ns()
    return reply(
        {
            "model": wanted.called,
            "embeddings": found,
            "total_duration": took,
            "load_duration": max(0, took - int(end.ttft_ms * 1e6)),
            "prompt_eval_count": end.tokens_in,
        }
    )


async def ollama_embeddings(request: Request) -> HTTPResponse:
    """Answer as Ollama did before /api/embed."""
    found, _ = await _embed(request, ollama.parse_embedding(codec.parse_json(request.body)))
    return reply({"embedding": found[0]})


ROUTES = (
    ("POST", "/api/chat", ollama_chat),
    ("POST", "/api/generate", ollama_generate),
    ("POST", "/api/embed", ollama_embed),
    ("POST", "/api/embeddings", ollama_embeddings),
    *ollama_models.ROUTES,
)


def add_routes(app: App) -> None:
    for method, path, handler in ROUTES:
        name = f"{handler.__name__}_{method.lower()}_{path.strip('/').replace('/', '_').split('<')[0]}"
        app.add_route(limited(handler.__name__, handler), path, methods=[method], name=name)


async def _say(request: Request, wanted: ollama.OllamaRequest) -> HTTPResponse | None:
    _check_context(request, wanted.model, wanted.num_ctx)
    _check_leave(request, wanted.leave)
    answer = ollama.Answer(model=wanted.called, chat=wanted.chat, now=_now, took_ns=_since_now())
    lines = _lines(request, wanted, answer)
    if wanted.stream:
        await ndjson.stream(request, failures.inside(lines, ollama.error_body))
        return None
    async with closing(lines) as told:
        return reply(answer.joined([line async for line in told]))


async def _lines(
    request: Request, wanted: ollama.OllamaRequest, answer: ollama.Answer
) -> AsyncIterator[dict[str, Any]]:
    queen: Queen = request.app.ctx.queen
    if wanted.spec is not None:
        async with closing(asking.ask(request, wanted.spec)) as happened:
            async for event in happened:
                for line in answer.told(event):
                    if line["done"] and wanted.leave:
                        await _leave(queen, wanted.model)
                    yield line
    elif wanted.leave:
        await _leave(queen, wanted.model)
        yield answer.done("unload")
    else:
        await _load(request, wanted.model)
        yield answer.done("load")


async def _load(request: Request, model: str) -> None:
    """Have a worker awake that has the model: it is asked for one token."""
    hello = (Message(role=Role.USER, content="."),)
    async with closing(asking.ask(request, JobSpec(model=model, messages=hello, max_tokens=1))) as happened:
        async for _ in happened:
            pass


async def _leave(queen: Queen, model: str) -> None:
    """Have the workers of ``model`` sleep; those that have work stay."""
    named = queen.jobs.names
    for pool in queen.pools.view():
        for worker in pool.snapshot.workers if pool.snapshot else ():
            if worker.state in AWAKE and named.same(worker.model, model):
                try:
                    await queen.pools.client(pool.id).evict_worker(worker.id)
                except RbeeError as error:
                    log.warning("worker.stays", worker=worker.id, pool=pool.id, error=error.message)


async def _embed(request: Request, wanted: ollama.EmbedRequest) -> tuple[list[list[float]], Any]:
    _check_context(request, wanted.spec.model, wanted.num_ctx)
    _check_leave(request, wanted.leave)
    happened: list[JobEvent] = []
    async with closing(asking.ask(request, wanted.spec)) as events:
        happened = [event async for event in events]
    found = wanted.vectors(happened)
    if wanted.leave:
        await _leave(request.app.ctx.queen, wanted.spec.model)
    return found


def _check_context(request: Request, model: str, num_ctx: int | None) -> None:
    """Raises InvalidRequest: a longer context is wanted than there is; a shorter one changes no answer that fits."""
    if num_ctx is None:
        return
    queen: Queen = request.app.ctx.queen
    context = context_of(JobSpec(model=model), queen.dispatcher.view())
    if context is not None and num_ctx > context.most:
        what = (
            f"is {num_ctx}, the longest context of {model} here is {context.most}; spawn a worker with a larger --ctx"
        )
        raise codec.invalid([("options.num_ctx", what)])


def _check_leave(request: Request, leave: bool) -> None:
    if leave:
        only_operator(request, "send a model out of memory (keep_alive is 0)")


def _since_now() -> Callable[[], int]:
    began = time.monotonic_ns()
    return lambda: time.monotonic_ns() - began


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
