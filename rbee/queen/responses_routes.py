"""OpenAI's Responses. An answer is a job; where it may be gone on from, what that takes is kept as long as its text."""

import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon.app import App, limited, reply
from rbee.daemon.closing import closing
from rbee.daemon.responding import respond
from rbee.errors import Conflict, NotFound
from rbee.queen import asking
from rbee.queen.queen import Queen
from rbee.queen.routes import asker
from rbee.queen.store import responses as kept_responses
from rbee.queen.store import retention
from rbee.queen.store.events import Entry
from rbee.queen.store.responses import Kept
from rbee.wire import codec, responses
from rbee.wire.events import LAST, Failure, JobEvent
from rbee.wire.jobs import JobState, Message

_GONE_ON_FROM = ("completed", "incomplete")


async def create_response(request: Request) -> HTTPResponse | None:
    queen: Queen = request.app.ctx.queen
    wanted = responses.parse(codec.parse_json(request.body))
    before = await _conversation(request, wanted.previous) if wanted.previous else ()
    spec, name = wanted.spec(before), f"resp_{secrets.token_hex(12)}"
    stays = wanted.store and queen.settings.retain_text_s > 0
    answer = responses.Answer(id=name, created=int(time.time()), echo=wanted.echo, store=stays)
    told = asking.ask(request, spec, job=name)
    if stays:
        told = _keeping(queen, told, name, wanted.echo)
    return await respond(request, told, answer, stream=wanted.stream)


async def get_response(request: Request, response: str) -> HTTPResponse | None:
    """Show an answer as far as it is there; with ``stream``, tell it again and go on with it to its end."""
    after = responses.parse_again({name: given[-1] for name, given in request.args.items()})
    kept, entries = await _told(request, response)
    if after is None:
        return reply(_answer(kept, entries).body())
    queen: Queen = request.app.ctx.queen
    ended = bool(entries) and entries[-1].kind in LAST  # its state was read later, and may be
    again = _each(entries) if ended else queen.entries(kept.stored, 0)
    return await respond(request, asking.going_well(again, response), _begun(kept), stream=True, after=after)


async def delete_response(request: Request, response: str) -> HTTPResponse:
    """Erase what was said; that there was a job stays known, as of every job."""
    queen: Queen = request.app.ctx.queen
    kept = await _find(request, response)
    if not kept.stored.status.state.finished:
        raise Conflict(
            f"response {response} is {kept.stored.status.state}, expected one that has ended", hint="cancel it first"
        )
    await queen.store.write(retention.erase, kept.stored.seq, queen.clock.wall_ms())
    await queen.store.checkpoint()
    return reply(responses.deleted(response))


async def cancel_response(request: Request, response: str) -> HTTPResponse:
    """End it, whether or not it runs in the background; one that has ended stays as it is."""
    queen: Queen = request.app.ctx.queen
    await _find(request, response)
    live = queen.jobs.live.get(response)
    if live is not None:
        await queen.cancel(live)
    return reply(_answer(*await _told(request, response)).body())


ROUTES = (
    ("POST", "/v1/responses", create_response),
    ("GET", "/v1/responses/<response>", get_response),
    ("DELETE", "/v1/responses/<response>", delete_response),
    ("POST", "/v1/responses/<response>/cancel", cancel_response),
)


def add_routes(app: App) -> None:
    for method, path, handler in ROUTES:
        app.add_route(limited(handler.__name__, handler), path, methods=[method], name=handler.__name__)


async def _conversation(request: Request, previous: str) -> tuple[Message, ...]:
    """Return what was said up to the answer ``previous`` and in it.

    Raises:
        InvalidRequest: no text is kept here.
        NotFound: there is no such answer, or no more.
        Conflict: it has not come to an end that can be gone on from.
    """
    queen: Queen = request.app.ctx.queen
    if queen.settings.retain_text_s == 0:
        what = f"is {previous[:80]}, but this queen keeps none (retain_text_s is 0); send the conversation as input"
        raise codec.invalid([("previous_response_id", what)])
    kept, entries = await _told(request, previous)
    answer = _answer(kept, entries)
    if answer.status not in _GONE_ON_FROM:
        raise Conflict(
            f"response {previous} is {answer.status}, expected {' or '.join(_GONE_ON_FROM)}",
            details={"fields": [{"field": "previous_response_id", "problem": f"is {answer.status}"}]},
        )
    first = 0 if kept.asked.get("instructions") is None else 1
    return (*(kept.spec.messages or ())[first:], *responses.said_again(answer.output))


async def _find(request: Request, response: str) -> Kept:
    """Return an answer the asker may see; raises NotFound."""
    queen: Queen = request.app.ctx.queen
    return _seen(request, response, await queen.store.read(kept_responses.kept, response))


async def _told(request: Request, response: str) -> tuple[Kept, Sequence[Entry]]:
    """Return an answer the asker may see, and what happened to it; raises NotFound."""
    queen: Queen = request.app.ctx.queen
    kept, entries = await queen.store.read(kept_responses.told, response) or (None, ())
    return _seen(request, response, kept), entries


def _seen(request: Request, response: str, kept: Kept | None) -> Kept:
    if kept is None or asker(request).caller not in ("", kept.stored.status.caller):
        raise NotFound(
            f"no response {response[:80]} is kept here",
            hint="one is kept for [queen] retain_text_s, unless store was false",
            details={"fields": [{"field": "previous_response_id", "problem": "is not kept here"}]},
        )
    return kept


def _answer(kept: Kept, entries: Sequence[Entry]) -> responses.Answer:
    """Return an answer as its events tell it, as far as they have come."""
    answer = _begun(kept)
    for event in (entry.read() for entry in entries):
        if isinstance(event, Failure):
            answer.fail(event.to_error())
        elif event is not None:
            answer.frames(event)
    if kept.stored.status.state is JobState.QUEUED:
        answer.status = "queued"
    return answer


def _begun(kept: Kept) -> responses.Answer:
    status = kept.stored.status
    return responses.Answer(id=status.id, created=status.created_ms // 1000, echo=kept.asked, store=True)


async def _each(entries: Sequence[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:
        yield entry


async def _keeping(
    queen: Queen, told: AsyncIterator[JobEvent], name: str, echo: Mapping[str, Any]
) -> AsyncIterator[JobEvent]:
    """Yield what is ``told``, after it is on disk that the answer can be gone on from."""
    stored = False
    async with closing(told) as happened:
        async for event in happened:
            if not stored:
                await queen.store.write(kept_responses.keep, name, echo)
                stored = True
            yield event
