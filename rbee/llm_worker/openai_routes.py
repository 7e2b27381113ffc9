"""OpenAI's routes, on the same sessions; an answer with several choices is several of them."""

import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import app as daemon
from rbee.daemon import sse
from rbee.daemon.closing import closing
from rbee.daemon.responding import respond
from rbee.daemon.together import together
from rbee.errors import Conflict, InvalidRequest, ModelNotFound, NotFound
from rbee.llm_worker.routes import of
from rbee.llm_worker.service import WorkerService
from rbee.llm_worker.session import Session
from rbee.wire import codec, openai, responses
from rbee.wire.events import End, Failure, JobEvent, Queued, StopReason
from rbee.wire.inference import InferenceRequest
from rbee.wire.sse import Frame


async def chat_completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_chat(codec.parse_json(request.body)))


async def completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_completion(codec.parse_json(request.body)))


async def embeddings(request: Request) -> HTTPResponse:
    wanted = openai.parse_embeddings(codec.parse_json(request.body))
    with _sessions(of(request), wanted.model, [wanted.generation]) as (session,):
        return daemon.reply(wanted.answer([event async for event in _told(session)]))


async def rerank(request: Request) -> HTTPResponse:
    wanted = openai.parse_rerank(codec.parse_json(request.body))
    with _sessions(of(request), wanted.model, [wanted.generation]) as (session,):
        return daemon.reply(wanted.answer([event async for event in _told(session)], id=session.job))


async def models(request: Request) -> HTTPResponse:
    return daemon.reply(openai.model_list([of(request).model], created=request.app.ctx.started_s))


async def model(request: Request, model: str) -> HTTPResponse:
    _refuse_another(of(request), unquote(model))
    return daemon.reply(openai.model_object(of(request).model, created=request.app.ctx.started_s))


async def create_response(request: Request) -> HTTPResponse | None:
    """Answer, and keep nothing of it: what is kept, and gone on from, is the queen's."""
    wanted = responses.parse(codec.parse_json(request.body))
    if wanted.previous is not None:
        what = f"is {wanted.previous[:80]}, but a worker keeps no answers"
        raise codec.invalid([("previous_response_id", f"{what}; ask the queen, or send the conversation as input")])
    name = f"resp_{secrets.token_hex(12)}"
    answer = responses.Answer(id=name, created=int(time.time()), echo=wanted.echo, store=False)
    with _sessions(of(request), wanted.model, [{**wanted.asked(), "id": name}]) as (session,):
        return await respond(request, _told(session), answer, stream=wanted.stream)


async def kept_response(_: Request, response: str) -> HTTPResponse:
    raise NotFound(
        f"no response {response[:80]} is kept here: a worker keeps none",
        hint="ask the queen, who keeps those that were asked of her",
    )


ROUTES: tuple[tuple[str, str, daemon.Handler], ...] = (
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/completions", completions),
    ("POST", "/v1/embeddings", embeddings),
    ("POST", "/v1/rerank", rerank),
    ("POST", "/v1/responses", create_response),
    ("GET", "/v1/responses/<response>", kept_response),
    ("DELETE", "/v1/responses/<response>", kept_response),
    ("POST", "/v1/responses/<response>/cancel", kept_response),
    ("GET", "/v1/models", models),
    ("GET", "/v1/models/<model:path>", model),
)


def mount(app: daemon.App, wrapped: Callable[[daemon.Handler], daemon.Handler]) -> None:
    """Give ``app`` the routes, counted and bounded like its others."""
    app.ctx.started_s = int(time.time())
    for method, path, handler in ROUTES:
        name = f"{method.lower()}_{path.strip('/').replace('/', '_').split('<')[0]}_{handler.__name__}"
        app.add_route(daemon.limited(handler.__name__, wrapped(handler)), path, methods=[method], name=name)


def _refuse_another(worker: WorkerService, model: str) -> None:
    if model != worker.model:
        raise ModelNotFound(f"this worker has {worker.model}, not {model[:100]}", hint="GET /v1/models")


def _refuse_half_characters(generations: Sequence[Mapping[str, Any]]) -> None:
    """Raise InvalidRequest for what no model can be told."""
    if not codec.is_text(generations):
        raise InvalidRequest(f"the request {codec.HALF}")


@contextlib.contextmanager
def _sessions(
    worker: WorkerService, model: str, generations: Sequence[Mapping[str, Any]]
) -> Iterator[Sequence[Session]]:
    """Open one for each of ``generations``; what still runs at the end has no reader any more, and is ended."""
    _refuse_another(worker, model)
    _refuse_half_characters(generations)
    opened: list[Session] = []
    try:
        for generation in generations:
            opened.append(worker.sessions.open(InferenceRequest(**generation), returns=False))
        yield opened
    finally:
        for session in opened:
            session.unattended()


async def _told(session: Session) -> AsyncGenerator[JobEvent, None]:
    """Yield that it was accepted, though it may wait for a slot, and then its events.

    Raises:
        RbeeError: the failure among them; Conflict when it was cancelled.
    """
    yield Queued(position=0)
    async with closing(session.read()) as numbered:
        async for _, event in numbered:
            if isinstance(event, Failure):
                raise event.to_error()
            if isinstance(event, End) and event.stop_reason is StopReason.CANCELLED:
                raise Conflict(f"{session.job} was cancelled before its answer was complete")
            yield event


async def _answer(request: Request, wanted: openai.OpenAiRequest) -> HTTPResponse | None:
    with _sessions(of(request), wanted.model, wanted.generations) as sessions:
        renderer = openai.Renderer(wanted=wanted, id=sessions[0].job, created=int(time.time()))
        told = together([_told(session) for session in sessions])
        if not wanted.stream:
            async with contextlib.aclosing(told) as events:
                return daemon.reply(renderer.whole([found async for found in events]))
        await sse.stream(request, sse.failing_inside(_frames(told, renderer), openai.error_frame))
        return None


async def _frames(told: AsyncGenerator[tuple[int, JobEvent], None], renderer: openai.Renderer) -> AsyncIterator[Frame]:
    async with contextlib.aclosing(told) as events:
        async for place, event in events:
            for frame in renderer.frames(event, place):
                yield frame
