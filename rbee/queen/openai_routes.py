"""OpenAI's routes. A request is a job like any other, or several of them, attached to its caller."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import unquote

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import sse
from rbee.daemon.app import App, limited, reply
from rbee.daemon.closing import closing
from rbee.daemon.dialects import ANTHROPIC_VERSION
from rbee.queen.asking import ask, ask_all
from rbee.queen.models import askable, file_of
from rbee.queen.newcomer import new_id
from rbee.queen.queen import Queen
from rbee.wire import anthropic, codec, openai
from rbee.wire.events import JobEvent
from rbee.wire.jobs import JobSpec
from rbee.wire.sse import Frame


async def models(request: Request) -> HTTPResponse:
    """List what can be asked for, in the dialect of whoever asks."""
    queen: Queen = request.app.ctx.queen
    await queen.pools.spoken()
    say = anthropic.model_list if ANTHROPIC_VERSION in request.headers else openai.model_list
    return reply(say(askable(queen.jobs.names, queen.pools.view()), created=request.app.ctx.started_s))


async def model(request: Request, model: str) -> HTTPResponse:
    """Show one of them, in whatever spelling a job may name it."""
    queen, name = request.app.ctx.queen, unquote(model)
    await queen.pools.spoken()
    file_of(queen.jobs.names, queen.pools.view(), name)
    say = anthropic.model_object if ANTHROPIC_VERSION in request.headers else openai.model_object
    return reply(say(name, created=request.app.ctx.started_s))


async def chat_completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_chat(codec.parse_json(request.body)))


async def completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_completion(codec.parse_json(request.body)))


async def embeddings(request: Request) -> HTTPResponse:
    wanted = openai.parse_embeddings(codec.parse_json(request.body))
    return reply(wanted.answer(await _told(request, _spec(wanted.generation, wanted.model, wanted.session))))


async def rerank(request: Request) -> HTTPResponse:
    wanted, job = openai.parse_rerank(codec.parse_json(request.body)), new_id()
    told = await _told(request, _spec(wanted.generation, wanted.model, wanted.session), job)
    return reply(wanted.answer(told, id=job))


ROUTES = (
    ("GET", "/v1/models", models),
    ("GET", "/v1/models/<model:path>", model),
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/completions", completions),
    ("POST", "/v1/embeddings", embeddings),
    ("POST", "/v1/rerank", rerank),
)


def add_routes(app: App) -> None:
    app.ctx.started_s = int(time.time())
    for method, path, handler in ROUTES:
        app.add_route(limited(handler.__name__, handler), path, methods=[method], name=handler.__name__)


def _spec(generation: Mapping[str, Any], model: str, session: str | None) -> JobSpec:
    return JobSpec(**generation, model=model, session=session)


async def _told(request: Request, spec: JobSpec, job: str = "") -> list[JobEvent]:
    """Return all that happens to a job, when it has ended well."""
    async with closing(ask(request, spec, job=job)) as told:
        return [event async for event in told]


async def _answer(request: Request, wanted: openai.OpenAiRequest) -> HTTPResponse | None:
    job = new_id()
    specs = [_spec(generation, wanted.model, wanted.session) for generation in wanted.generations]
    renderer = openai.Renderer(wanted=wanted, id=job, created=int(time.time()))
    told = ask_all(request, specs, job=job)
    if not wanted.stream:
        async with closing(told) as events:
            return reply(renderer.whole([found async for found in events]))
    await sse.stream(request, sse.failing_inside(_frames(told, renderer), openai.error_frame))
    return None


async def _frames(told: AsyncIterator[tuple[int, JobEvent]], renderer: openai.Renderer) -> AsyncIterator[Frame]:
    async with closing(told) as events:
        async for place, event in events:
            for frame in renderer.frames(event, place):
                yield frame
