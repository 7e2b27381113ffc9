"""Anthropic's Messages. A request is a job like any other, attached to its caller."""

import secrets

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon.app import App, limited, reply
from rbee.daemon.closing import closing
from rbee.daemon.responding import respond
from rbee.queen import asking
from rbee.queen.counting import count
from rbee.queen.queen import Queen
from rbee.wire import anthropic, codec
from rbee.wire.events import End


async def messages(request: Request) -> HTTPResponse | None:
    wanted = anthropic.parse(codec.parse_json(request.body))
    answer = anthropic.Answer(id=f"msg_{secrets.token_hex(12)}", model=wanted.spec.model)
    return await respond(request, asking.ask(request, wanted.spec, job=answer.id), answer, stream=wanted.stream)


async def count_tokens(request: Request) -> HTTPResponse:
    """Ask a worker that is awake; where none is, have one read the prompt for an answer of one token."""
    queen: Queen = request.app.ctx.queen
    spec = anthropic.parse_count(codec.parse_json(request.body))
    counted = await count(spec, queen.dispatcher.view(), queen.pools)
    if counted is None:
        async with closing(asking.ask(request, spec)) as happened:
            ends = [event.tokens_in async for event in happened if isinstance(event, End)]
        counted = ends[0]
    return reply({"input_tokens": counted})


ROUTES = (
    ("POST", "/v1/messages", messages),
    ("POST", "/v1/messages/count_tokens", count_tokens),
)


def add_routes(app: App) -> None:
    for method, path, handler in ROUTES:
        app.add_route(limited(handler.__name__, handler), path, methods=[method], name=handler.__name__)
