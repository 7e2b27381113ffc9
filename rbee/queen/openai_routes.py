"""OpenAI's routes. A request is a job like any other, attached to its caller."""

import time
from collections.abc import AsyncIterator

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import sse
from rbee.daemon.app import App, limited, reply
from rbee.daemon.dialects import ANTHROPIC_VERSION
from rbee.errors import InvalidRequest, ShuttingDown
from rbee.queen import streams
from rbee.queen.closing import closing
from rbee.queen.newcomer import new_id
from rbee.queen.queen import Queen
from rbee.queen.routes import asker, service
from rbee.queen.store.events import Entry
from rbee.wire import anthropic, codec, events, openai
from rbee.wire.events import Failure, JobEvent
from rbee.wire.jobs import JobSpec
from rbee.wire.sse import Frame


async def models(request: Request) -> HTTPResponse:
    """List the models that some pool has, in the dialect of whoever asks."""
    known = [entry.id for entry in await service(request).list_models() if entry.present]
    say = anthropic.model_list if ANTHROPIC_VERSION in request.headers else openai.model_list
    return reply(say(known, created=request.app.ctx.started_s))


async def chat_completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_chat(codec.parse_json(request.body)))


async def completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_completion(codec.parse_json(request.body)))


async def embeddings(_: Request) -> HTTPResponse:
    raise InvalidRequest("/v1/embeddings is not served yet", hint="GET /openapi.json lists what is")


ROUTES = (
    ("GET", "/v1/models", models),
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/completions", completions),
    ("POST", "/v1/embeddings", embeddings),
)


def add_routes(app: App) -> None:
    app.ctx.started_s = int(time.time())
    for method, path, handler in ROUTES:
        app.add_route(limited(handler.__name__, handler), path, methods=[method], name=handler.__name__)


async def _answer(request: Request, wanted: openai.OpenAiRequest) -> HTTPResponse | None:
    queen: Queen = request.app.ctx.queen
    fresh_id = new_id()
    spec = JobSpec(**wanted.generation, model=wanted.model, session=wanted.session)
    entries = await streams.attached(queen, spec, asker(request), fresh_id=fresh_id)
    renderer = openai.Renderer(
        kind=wanted.kind,
        id=fresh_id,
        model=wanted.model,
        created=int(time.time()),
        include_usage=wanted.include_usage,
    )
    if not wanted.stream:
        async with closing(_events(entries)) as told:
            return reply(renderer.whole([event async for event in told]))
    said = streams.failing_inside(_frames(entries, renderer), lambda error: renderer.frames(Failure.of(error))[0])
    await sse.stream(request, said)
    return None


async def _frames(entries: AsyncIterator[Entry], renderer: openai.Renderer) -> AsyncIterator[Frame]:
    event: JobEvent | None = None
    async with closing(entries) as stream:
        async for entry in stream:
            event = entry.read()
            if isinstance(event, Failure):
                raise event.to_error()
            for frame in renderer.frames(event) if event is not None else ():
                yield frame
    _whole(event)


async def _events(entries: AsyncIterator[Entry]) -> AsyncIterator[JobEvent]:
    """Yield the events of one job to its last."""
    event: JobEvent | None = None
    async with closing(entries) as stream:
        async for entry in stream:
            event = entry.read()
            if event is not None:
                yield event
    _whole(event)


def _whole(last: JobEvent | None) -> None:
    """Raises ShuttingDown: the events ended before the job did, since the queen stops."""
    if last is None or not events.last(last):
        raise ShuttingDown("the queen stopped before the answer was complete", hint="send it again")
