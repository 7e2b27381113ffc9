"""The worker's own routes: decode, call, encode."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import app as daemon
from rbee.daemon import sse
from rbee.errors import InvalidRequest, NoCapacity, RbeeError
from rbee.llm_worker.service import WorkerService
from rbee.llm_worker.session import Session
from rbee.wire import codec
from rbee.wire.events import Failure, JobEvent, name_of
from rbee.wire.inference import InferenceRequest, TokenCount
from rbee.wire.sse import Frame

Render = Callable[[int, JobEvent], Iterable[Frame]]


async def infer(request: Request) -> None:
    worker = of(request)
    await stream(request, worker, worker.sessions.open(daemon.body(request, InferenceRequest)))


async def attach(request: Request, job: str) -> None:
    worker = of(request)
    session = worker.sessions.find(job)
    await stream(request, worker, session, after=_last_event_id(request, session))


async def cancel(request: Request, job: str) -> HTTPResponse:
    of(request).sessions.cancel(job)
    return daemon.empty()


async def count_tokens(request: Request) -> HTTPResponse:
    worker = of(request)
    asked = daemon.body(request, InferenceRequest)
    if not worker.readiness().ready:
        raise NoCapacity(f"worker {worker.worker} is {worker.state}", hint="try again shortly")
    tokens = await asyncio.to_thread(worker.engine.count, asked)
    return daemon.reply(TokenCount(tokens=tokens, context_tokens=worker.engine.context_tokens))


async def readiness(request: Request) -> HTTPResponse:
    return daemon.reply(of(request).readiness())


async def loading(request: Request) -> None:
    await sse.stream(request, _loading_frames(of(request)))


async def drain(request: Request) -> HTTPResponse:
    of(request).drain()
    return daemon.empty()


async def sleep(request: Request) -> HTTPResponse:
    of(request).sleep()
    return daemon.empty()


HANDLERS: Mapping[str, daemon.Handler] = {
    "infer": infer,
    "attach": attach,
    "cancel": cancel,
    "count_tokens": count_tokens,
    "readiness": readiness,
    "loading": loading,
    "drain": drain,
    "sleep": sleep,
}


def of(request: Request) -> WorkerService:
    worker: WorkerService = request.app.ctx.worker
    return worker


def numbered(number: int, event: JobEvent) -> tuple[Frame]:
    return (Frame(event=name_of(event), data=codec.dump_json(event), id=str(number)),)


async def stream(
    request: Request, worker: WorkerService, session: Session, *, after: int = 0, render: Render = numbered
) -> None:
    """Send ``session`` as it goes on; what fails before anything was generated is an ordinary error answer."""
    try:
        await sse.stream(request, _frames(session, after, render))
    except RbeeError:
        if session.failed_early:
            worker.sessions.forget(session)
        raise
    finally:
        session.unattended()


async def _frames(session: Session, after: int, render: Render) -> AsyncIterator[Frame]:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async for number, event in session.read(after):
        if number == 1 and isinstance(event, Failure) and loop.time() - began_s < sse.STATUS_STILL_OURS_S:
            raise event.to_error()
        for frame in render(number, event):
            yield frame


async def _loading_frames(worker: WorkerService) -> AsyncIterator[Frame]:
    async for event in worker.loading.events():
        yield Frame(event=event.state, data=codec.dump_json(event))


def _last_event_id(request: Request, session: Session) -> int:
    given = str(request.headers.get("last-event-id", "0"))
    last = len(session.events)
    if not given.isascii() or not given.isdigit() or len(given) > 9 or int(given) > last:
        raise InvalidRequest(
            f"Last-Event-ID is {given[:40]!r}, expected a number of this generation, 0..{last}",
            details={"fields": [{"field": "Last-Event-ID", "problem": f"expected 0..{last}"}]},
        )
    return int(given)
