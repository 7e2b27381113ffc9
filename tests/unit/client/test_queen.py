"""A queen over HTTP, against one that cuts its streams at every event."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from sanic import Request

from rbee.client import queen as client_queen
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app, reply
from rbee.errors import NotFound, PoolUnreachable
from rbee.wire import codec
from rbee.wire.events import End, JobEvent, Queued, StopReason, Token, name_of
from rbee.wire.jobs import JobState, JobStatus
from rbee.wire.sse import Frame
from tests.support.serving import served

EVENTS: list[JobEvent] = [
    Queued(position=0),
    *(Token(i=n, t=f"w{n} ") for n in range(5)),
    End(tokens_in=1, tokens_out=5, stop_reason=StopReason.EOS, decode_ms=1.0, ttft_ms=1.0),
]


class Cutting:
    """A FAKE queen with one job: every connection gives ``each`` events and is then cut."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.asked: list[int] = []
        self.state = JobState.RUNNING
        self.clean = False
        """A stream ends as if nothing were to come, as that of a queen who stops does."""

    async def events(self, request: Request, job: str) -> None:
        if job != "job-1":
            raise NotFound(f"no job {job}")
        after = int(request.headers.get("last-event-id", "0"))
        self.asked.append(after)
        response = await request.respond(content_type="text/event-stream")
        for number in range(after + 1, min(after + self.each, len(EVENTS)) + 1):
            event = EVENTS[number - 1]
            frame = Frame(event=name_of(event), data=codec.dump_json(event), id=str(number))
            await response.send(frame.encode())
        if not self.clean:
            assert request.transport is not None
            request.transport.abort()

    async def status(self, _: Request, job: str) -> object:
        return reply(JobStatus(id=job, state=self.state, model="tiny"))

    def app(self) -> App:
        app = create_app("cutting-queen", source="queen", access=Access(callers={}), metrics=CollectorRegistry(),
                         body_limit_bytes=1 << 20, connections=10)  # fmt: skip
        app.add_route(self.events, "/v2/tasks/<job>/events")
        app.add_route(self.status, "/v2/tasks/<job>")
        return app


@contextlib.asynccontextmanager
async def cutting(each: int) -> AsyncIterator[tuple[Cutting, QueenClient]]:
    fake = Cutting(each)
    async with served(fake.app()) as url, HttpClient(url, source="queen") as http:
        yield fake, QueenClient(http)


@pytest.mark.parametrize("each", [1, 2, 3, 7])
async def test_a_cut_stream_has_no_gap_and_no_double(each: int) -> None:
    async with cutting(each) as (fake, client):
        seen = [numbered async for numbered in client.job_events("job-1")]
        assert seen == list(enumerate(EVENTS, start=1))
        assert fake.asked == list(range(0, len(EVENTS), each))


@pytest.mark.parametrize("each", [1, 2, 3, 7])
async def test_a_job_that_ended_after_its_stream_did_is_told_to_its_end(each: int) -> None:
    """A queen who stops ends her streams; her successor may say that the job is over before the client asks again."""
    async with cutting(each) as (fake, client):
        fake.clean, fake.state = True, JobState.COMPLETED
        assert [numbered async for numbered in client.job_events("job-1")] == list(enumerate(EVENTS, start=1))


async def test_after_the_last_event_there_is_nothing() -> None:
    async with cutting(7) as (fake, client):
        fake.clean, fake.state = True, JobState.COMPLETED
        assert [numbered async for numbered in client.job_events("job-1", len(EVENTS))] == []
        assert fake.asked == [len(EVENTS)] * 2


async def test_one_goes_on_after_an_event_already_seen() -> None:
    async with cutting(100) as (_, client):
        assert [number async for number, _ in client.job_events("job-1", 4)] == [5, 6, 7]


async def test_a_job_that_is_not_there_is_said_at_once() -> None:
    async with cutting(1) as (_, client):
        with pytest.raises(NotFound):
            async for _ in client.job_events("none"):
                pass


async def test_a_queen_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_queen, "AWAY_S", 0.3)
    async with HttpClient("http://127.0.0.1:1", source="queen") as http:
        with pytest.raises(PoolUnreachable, match="queen"):
            async for _ in QueenClient(http).job_events("job-1"):
                pass
