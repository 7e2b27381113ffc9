"""The Sanic application every daemon starts from: envelopes, request ids, access, limits, /health, /metrics."""

import asyncio
import contextlib
import os
import re
import typing
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote

import prometheus_client
from prometheus_client import CollectorRegistry
from sanic import Request, Sanic
from sanic.constants import HTTP_METHODS
from sanic.exceptions import MethodNotAllowed, SanicException
from sanic.response import BaseHTTPResponse, HTTPResponse

from rbee import __version__, log
from rbee.daemon import dialects, openapi
from rbee.daemon.access import LOOPBACK_NAMES, Access
from rbee.errors import (
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    QueueFull,
    RbeeError,
    ShuttingDown,
    Timeout,
    Unauthorized,
)
from rbee.wire import codec, quick
from rbee.wire.envelope import to_envelope
from rbee.wire.operations import Operation
from rbee.wire.version import HEADER

T = TypeVar("T")
App: TypeAlias = "Sanic[Any, Any]"
Handler = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OPEN = frozenset({"/health"})
_OPEN_ON_LOOPBACK = frozenset({"/metrics", "/openapi.json"})
_LONGEST_ANSWER_S = 3600
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_HEADER_LIMIT_BYTES = 16 << 10
_UNREAD = "NONE"
"""The method that Sanic gives to what was no request; no route has it."""
_QUIET = frozenset({"heartbeat"})
"""Operations that come all the time: what they change in the STATUS line may wait for its next turn."""
_LISTED = "GET /openapi.json lists the routes"


def create_app(
    name: str,
    *,
    source: str,
    access: Access,
    metrics: CollectorRegistry,
    body_limit_bytes: int,
    connections: int,
) -> App:
    """Return an application without routes of its own.

    Args:
        source: who speaks in error envelopes, ``queen`` or ``pool:blep``.
        access: replace ``app.ctx.access`` to change it later (SIGHUP).
        connections: requests one caller may have in flight; the next is queue_full.
    """
    app: App = Sanic(name, configure_logging=False)
    app.config.update(
        REQUEST_MAX_SIZE=body_limit_bytes,
        REQUEST_MAX_HEADER_SIZE=_HEADER_LIMIT_BYTES,
        REQUEST_TIMEOUT=60,
        RESPONSE_TIMEOUT=_LONGEST_ANSWER_S,
        KEEP_ALIVE_TIMEOUT=75,
        FALLBACK_ERROR_FORMAT="json",
        MOTD=False,
        ACCESS_LOG=False,
    )
    app.ctx.source = source
    app.ctx.health = _well
    app.ctx.access = access
    app.ctx.metrics = metrics
    app.ctx.in_flight = Counter()
    app.ctx.moved = asyncio.Event()  # a request began or ended: the STATUS line may have changed
    app.ctx.connections = connections
    app.ctx.requests = prometheus_client.Counter(
        "rbee_http_requests", "Requests answered, by operation and status.", ("operation", "status"), registry=metrics
    )
    app.register_middleware(_admit, "request")
    app.register_middleware(_sign, "response")
    app.error_handler.add(Exception, _failed)
    app.add_route(_health, "/health", methods=["GET", "HEAD"], name="health")
    app.add_route(_metrics, "/metrics", name="metrics")
    return app


def mount(app: App, operations: tuple[Operation, ...], handlers: Mapping[str, Handler]) -> None:
    """Give each operation its route, and the application its OpenAPI document.

    Raises:
        ValueError: an operation without a handler, or a handler that is no operation.
    """
    names = {operation.name for operation in operations}
    if names != set(handlers):
        raise ValueError(f"operations and handlers differ: {sorted(names ^ set(handlers))}")
    for operation in operations:
        app.add_route(
            limited(operation.name, handlers[operation.name]),
            operation.path,
            methods=[operation.method],
            name=operation.name,
        )
    document = openapi.document(app.name, __version__, operations)

    async def describe(_: Request) -> HTTPResponse:
        return reply(document)

    app.add_route(describe, "/openapi.json", name="openapi")


def limited(operation: str, handler: Handler) -> Handler:
    """Return ``handler`` counted, and bounded in how many one caller has in flight.

    A stream counts until its last byte, which is why this wraps the handler and is no middleware.
    """

    quiet = operation in _QUIET

    async def bounded(request: Request, **path: str) -> HTTPResponse | None:
        app = request.app
        who = f"{request.ctx.caller or 'operator'}@{request.ip}"
        if app.ctx.in_flight[who] >= app.ctx.connections:
            raise QueueFull(
                f"{app.ctx.connections} requests of this caller are in flight already",
                hint="wait for one to end",
                details={"retry_after_s": 1, "limit": app.ctx.connections},
            )
        app.ctx.in_flight[who] += 1
        if not quiet:
            app.ctx.moved.set()
        try:
            response = await handler(request, **{key: decoded(value) for key, value in path.items()})
            app.ctx.requests.labels(operation, str(response.status if response else 200)).inc()
            return response
        finally:
            app.ctx.in_flight[who] -= 1
            if not app.ctx.in_flight[who]:
                del app.ctx.in_flight[who]
            if not quiet:
                app.ctx.moved.set()

    return bounded


def decoded(part: str) -> str:
    """Return a part of the path without its percent signs, which Sanic leaves in.

    Raises:
        InvalidRequest: it is no text that a name could be.
    """
    try:
        name = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest(f"path has {part[:80]!r}, which is not UTF-8") from None
    if not name.isprintable():
        raise InvalidRequest(f"path has {part[:80]!r}, expected printable characters")
    return name


def body(request: Request, kind: type[T]) -> T:
    """Return the request's JSON body as a ``kind``; raises InvalidRequest naming every wrong field."""
    return codec.from_dict(kind, codec.parse_json(request.body) if request.body else {})


def query(request: Request, kind: type[T]) -> T:
    """Return the query string as a ``kind``; where it wants a number one is read, the last of a repeated key wins."""
    hints = quick.hints_of(kind)  # type: ignore[arg-type]  # classes are hashable
    values: dict[str, Any] = {}
    for key, given in request.args.items():
        numeric = int in (hints.get(key), *typing.get_args(hints.get(key)))
        values[key] = int(given[-1]) if numeric and _WHOLE.fullmatch(given[-1]) else given[-1]
    return codec.from_dict(kind, values)


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    """Return ``value`` as JSON."""
    return HTTPResponse(
        codec.dump_json(value), status=status, headers=dict(headers or {}), content_type="application/json"
    )


def empty(status: int = 204) -> HTTPResponse:
    return HTTPResponse(status=status)


def wants_stream(request: Request) -> bool:
    return "text/event-stream" in str(request.headers.get("accept", ""))


async def _admit(request: Request) -> HTTPResponse | None:
    """Before any handler: a request id, a caller we know, and a body that no web form can send.

    A browser's question whether a page of a listed origin may call is answered here: it carries no token.
    """
    request.ctx.request_id = _request_id(request)
    request.ctx.caller = ""
    if request.method == _UNREAD:
        return None  # the answer is what is wrong with it, not that we saw no token in it
    access: Access = request.app.ctx.access
    access.check_browser(request.headers.get("host"), request.headers.get("origin"))
    if _is_preflight(request):
        return HTTPResponse(status=204, headers=_preflight_headers(request))
    if request.path not in _OPEN and not (request.path in _OPEN_ON_LOOPBACK and _is_here(request.ip)):
        request.ctx.caller = access.caller(request.headers.get("authorization"), request.headers.get("x-api-key"))
    if request.body and not _is_json(request.headers):
        raise InvalidRequest(
            f"content-type is {request.headers.get('content-type', '')[:100]!r}, expected application/json"
        )
    return None


def _is_here(ip: str) -> bool:
    """Say whether a peer is this machine; a socket for every address shows IPv4 peers as ::ffff:a.b.c.d."""
    return ip.removeprefix("::ffff:") in LOOPBACK_NAMES


def _is_preflight(request: Request) -> bool:
    asks = request.method == "OPTIONS" and "access-control-request-method" in request.headers
    return asks and request.headers.get("origin") in request.app.ctx.access.origins


def _preflight_headers(request: Request) -> dict[str, str]:
    """Return what a listed origin may send: all we have, with whatever headers its client library adds."""
    return {
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": str(request.headers.get("access-control-request-headers", "*")),
        "Access-Control-Max-Age": "600",
    }


def _is_json(headers: Mapping[str, str]) -> bool:
    """Say whether a body is JSON by its header; who shows a key, which no web page can, need not say."""
    given = str(headers.get("content-type", ""))
    if not given and ("authorization" in headers or "x-api-key" in headers):
        return True
    return given.partition(";")[0].strip().lower() == "application/json"


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


async def _sign(request: Request, response: BaseHTTPResponse) -> None:
    response.headers["X-Request-Id"] = _id_of(request)
    if response.status != Unauthorized.http_status:
        response.headers[HEADER] = __version__
    origin = request.headers.get("origin")
    if origin is not None and origin in request.app.ctx.access.origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "X-Request-Id, Retry-After"
        response.headers["Vary"] = "Origin"


async def _failed(request: Request, error: Exception) -> HTTPResponse:
    """Turn any failure into the envelope; what is no RbeeError is a bug and is logged with its traceback."""
    known, status = _known(error, request)
    if isinstance(error, RbeeError):
        status = known.http_status
    elif status >= 500:
        log.foreign("request.failed", error, request_id=_id_of(request), path=request.path)
    request.app.ctx.requests.labels((request.name or "none").rpartition(".")[2], str(status)).inc()
    headers = {"Connection": "close"} if status == 413 else {}
    if "retry_after_s" in known.details:
        headers["Retry-After"] = str(known.details["retry_after_s"])
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = _allowed(request)
    if isinstance(known, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return reply(_envelope(request, known), status=status, headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods that a path has; Sanic says them only where all are one route."""
    found = []
    for method in HTTP_METHODS:
        with contextlib.suppress(SanicException):
            request.app.router.get(request.path, method, None)
            found.append(method.value)
    return ", ".join(found)


def _envelope(request: Request, error: RbeeError) -> dict[str, Any]:
    envelope = to_envelope(error, request_id=_id_of(request), source=request.app.ctx.source)
    return dialects.told(error, envelope, request.path, request.headers)


def _known(error: Exception, request: Request) -> tuple[RbeeError, int]:
    if isinstance(error, RbeeError):
        return error, error.http_status
    status = error.status_code if isinstance(error, SanicException) else 500
    shown = request.path[:200]
    match status:
        case 404:
            return NotFound(f"no route {shown}", hint=_LISTED), 404
        case 405:
            return InvalidRequest(f"{request.method} is not allowed on {shown}", hint=_LISTED), 405
        case 408:
            return Timeout("the request did not arrive in time"), 408
        case 413:
            what, limit = "request", request.app.config.REQUEST_MAX_SIZE
            if request.method == _UNREAD:
                what, limit = "request's header", _HEADER_LIMIT_BYTES
            return PayloadTooLarge(f"the {what} is larger than {limit} bytes", details={"limit_bytes": limit}), 413
        case 503:
            return ShuttingDown("the daemon took too long or is stopping"), 503
        case _ if 400 <= status < 500:
            return InvalidRequest(f"not a request we can read: {error}"), status
    return RbeeError("something went wrong inside", hint=f"journalctl REQUEST_ID={_id_of(request)}"), 500


def _id_of(request: Request) -> str:
    found = getattr(request.ctx, "request_id", None)
    if found is None:
        found = request.ctx.request_id = _request_id(request)
    return str(found)


def _well() -> str:
    return "ok"


async def _health(request: Request) -> HTTPResponse:
    return reply({"status": request.app.ctx.health(), "name": request.app.ctx.source, "version": __version__})


async def _metrics(request: Request) -> HTTPResponse:
    text = prometheus_client.generate_latest(request.app.ctx.metrics)
    return HTTPResponse(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)
