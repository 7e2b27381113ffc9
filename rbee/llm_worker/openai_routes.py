"""OpenAI's routes, on the same sessions."""

import time
from collections.abc import Callable, Iterable

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import app as daemon
from rbee.errors import ModelNotFound
from rbee.llm_worker.routes import of, stream
from rbee.llm_worker.service import WorkerService
from rbee.llm_worker.session import Session
from rbee.wire import codec, openai
from rbee.wire.events import JobEvent
from rbee.wire.inference import InferenceRequest
from rbee.wire.sse import Frame


async def chat_completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_chat(codec.parse_json(request.body)))


async def completions(request: Request) -> HTTPResponse | None:
    return await _answer(request, openai.parse_completion(codec.parse_json(request.body)))


async def models(request: Request) -> HTTPResponse:
    return daemon.reply(openai.model_list([of(request).model], created=request.app.ctx.started_s))


ROUTES: tuple[tuple[str, str, daemon.Handler], ...] = (
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/completions", completions),
    ("GET", "/v1/models", models),
)


def mount(app: daemon.App, wrapped: Callable[[daemon.Handler], daemon.Handler]) -> None:
    """Give ``app`` the routes, counted and bounded like its others."""
    app.ctx.started_s = int(time.time())
    for method, path, handler in ROUTES:
        app.add_route(daemon.limited(handler.__name__, wrapped(handler)), path, methods=[method], name=handler.__name__)


async def _answer(request: Request, wanted: openai.OpenAiRequest) -> HTTPResponse | None:
    worker = of(request)
    if wanted.model != worker.model:
        raise ModelNotFound(f"this worker has {worker.model}, not {wanted.model[:100]}", hint="GET /v1/models")
    session = worker.sessions.open(InferenceRequest(**wanted.generation))
    renderer = openai.Renderer(
        kind=wanted.kind,
        id=session.job,
        model=worker.model,
        created=int(time.time()),
        include_usage=wanted.include_usage,
    )
    if not wanted.stream:
        return await _whole(worker, session, renderer)

    def render(_: int, event: JobEvent) -> Iterable[Frame]:
        return renderer.frames(event)

    await stream(request, worker, session, render=render)
    return None


async def _whole(worker: WorkerService, session: Session, renderer: openai.Renderer) -> HTTPResponse:
    try:
        return daemon.reply(renderer.whole([event async for _, event in session.read()]))
    finally:
        session.unattended()
        if session.failed_early:
            worker.sessions.forget(session)
