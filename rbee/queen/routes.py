"""The queen's own routes. A handler decodes, calls, encodes; errors become envelopes in ``daemon.app``."""

from collections.abc import Mapping

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import sse
from rbee.daemon.app import App, Handler, body, empty, limited, mount, query, reply, wants_stream
from rbee.errors import InvalidRequest, RbeeError
from rbee.queen import streams
from rbee.queen.newcomer import Asker
from rbee.queen.queen import Queen
from rbee.queen.service import QueenService
from rbee.wire import codec
from rbee.wire.again import Again
from rbee.wire.fields import NAME
from rbee.wire.jobs import JobQuery, JobSpec
from rbee.wire.operations import QUEEN
from rbee.wire.pools import DrainSpec, PoolRegistration, PoolSnapshot
from rbee.wire.workers import WorkerSpec


def asker(request: Request) -> Asker:
    return Asker(caller=request.ctx.caller, request_id=request.ctx.request_id)


def service(request: Request) -> QueenService:
    return QueenService(request.app.ctx.queen, asker(request))


async def submit_job(request: Request) -> HTTPResponse | None:
    """Answer 202, or with ``Accept: text/event-stream`` the job's events; then closing the line cancels it."""
    spec = body(request, JobSpec)
    if not wants_stream(request):
        return reply(await service(request).submit_job(spec), 202)
    queen: Queen = request.app.ctx.queen
    after = last_event_id(request)
    entries = await streams.attached(queen, spec, asker(request), after)
    await sse.stream(request, streams.frames(entries, after))
    return None


async def list_jobs(request: Request) -> HTTPResponse:
    return reply(await service(request).list_jobs(query(request, JobQuery)))


async def get_job(request: Request, job: str) -> HTTPResponse:
    return reply(await service(request).get_job(job))


async def job_events(request: Request, job: str) -> None:
    queen: Queen = request.app.ctx.queen
    stored, after = await queen.find(job, asker(request)), last_event_id(request)
    await sse.stream(request, streams.frames(queen.entries(stored, after), after))


async def cancel_job(request: Request, job: str) -> HTTPResponse:
    await service(request).cancel_job(job)
    return empty()


async def explain_job(request: Request, job: str) -> HTTPResponse:
    return reply(await service(request).explain_job(job))


async def list_pools(request: Request) -> HTTPResponse:
    return reply(await service(request).list_pools())


async def get_pool(request: Request, pool: str) -> HTTPResponse:
    return reply(await service(request).get_pool(pool))


async def register_pool(request: Request, pool: str) -> HTTPResponse:
    return reply(await service(request).register_pool(_name(pool), body(request, PoolRegistration)))


async def heartbeat(request: Request, pool: str) -> HTTPResponse:
    heard: Again[PoolSnapshot] = request.app.ctx.heard
    snapshot = heard.read(pool, codec.parse_json(request.body or b"{}"))
    await service(request).heartbeat(pool, snapshot)
    return empty()


async def drain_pool(request: Request, pool: str) -> HTTPResponse:
    await service(request).drain_pool(pool, body(request, DrainSpec).deadline_s)
    return empty()


async def undrain_pool(request: Request, pool: str) -> HTTPResponse:
    await service(request).undrain_pool(pool)
    return empty()


async def remove_pool(request: Request, pool: str) -> HTTPResponse:
    await service(request).remove_pool(pool)
    request.app.ctx.heard.forget(pool)
    return empty()


async def list_workers(request: Request) -> HTTPResponse:
    return reply(await service(request).list_workers())


async def spawn_worker(request: Request) -> HTTPResponse | None:
    """Answer when the worker is ready, or with ``Accept: text/event-stream`` tell how far it is."""
    pool = request.args.get("pool")
    events = service(request).spawn_worker(body(request, WorkerSpec), pool)
    if wants_stream(request):
        await sse.stream(request, streams.spawn_frames(events))
        return None
    told = [event async for event in events]
    if not told or told[-1].worker is None:
        raise RbeeError("the pool ended the spawn without a result", hint="rbee-keeper pool worker list")
    return reply(told[-1].worker, 201)


async def stop_worker(request: Request, worker: str) -> HTTPResponse:
    await service(request).stop_worker(worker)
    return empty()


async def explain_workers(request: Request) -> HTTPResponse:
    return reply(await service(request).explain_workers())


async def list_models(request: Request) -> HTTPResponse:
    return reply(await service(request).list_models())


async def version(request: Request) -> HTTPResponse:
    return reply(await service(request).version())


async def capabilities(request: Request) -> HTTPResponse:
    return reply(await service(request).capabilities())


HANDLERS: Mapping[str, Handler] = {
    "submit_job": submit_job,
    "list_jobs": list_jobs,
    "get_job": get_job,
    "job_events": job_events,
    "cancel_job": cancel_job,
    "explain_job": explain_job,
    "list_pools": list_pools,
    "get_pool": get_pool,
    "register_pool": register_pool,
    "heartbeat": heartbeat,
    "drain_pool": drain_pool,
    "undrain_pool": undrain_pool,
    "remove_pool": remove_pool,
    "list_workers": list_workers,
    "spawn_worker": spawn_worker,
    "stop_worker": stop_worker,
    "explain_workers": explain_workers,
    "list_models": list_models,
    "version": version,
    "capabilities": capabilities,
}


def add_routes(app: App) -> None:
    """Give ``app`` the routes of ``wire.operations.QUEEN``; ``app.ctx.queen`` answers once it is set."""
    app.ctx.heard = Again(PoolSnapshot, frozenset({"models", "needs"}))
    mount(app, QUEEN, HANDLERS)
    cancel = limited("cancel_job", cancel_job)
    app.add_route(cancel, "/v2/tasks/<job>/cancel", methods=["POST"], name="cancel_job_by_post")


def last_event_id(request: Request) -> int:
    """Return the id after which to go on; 0 is the beginning."""
    given = request.headers.get("last-event-id", "").strip()
    if given and (not given.isascii() or not given.isdigit() or len(given) > 15):
        raise InvalidRequest(f"Last-Event-ID is {given[:40]!r}, expected the id of an event")
    return int(given or 0)


def _name(pool: str) -> str:
    if not NAME.fullmatch(pool):
        raise InvalidRequest(f"pool id is {pool[:80]!r}, expected it to match {NAME.pattern}")
    return pool
