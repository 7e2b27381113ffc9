"""A real application on a real port, asked by a real client."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from sanic import Request
from sanic.response import HTTPResponse

from rbee.client.http import HttpClient
from rbee.daemon import sse
from rbee.daemon.access import Access
from rbee.daemon.app import body, create_app, mount, reply, wants_stream
from rbee.errors import (
    InvalidRequest,
    NotFound,
    PoolUnreachable,
    QueueFull,
    RbeeError,
    Timeout,
    Unauthorized,
    WorkerOom,
)
from rbee.wire.inference import InferenceRequest
from rbee.wire.operations import WORKER
from rbee.wire.sse import Frame
from tests.rig.waiting import PATIENCE
from tests.support.serving import served

TOKEN = "t" * 64


class Handlers:
    """What the routes below do; events let a test wait instead of sleep."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.release = asyncio.Event()

    async def frames(self) -> AsyncIterator[Frame]:
        try:
            for n in range(1, 4):
                yield Frame(event="token", data=f'{{"i":{n}}}', id=str(n))
            await self.release.wait()
        finally:
            self.closed.set()

    async def infer(self, request: Request) -> HTTPResponse | None:
        wanted = body(request, InferenceRequest)
        if not wants_stream(request):
            return reply(wanted)
        await sse.stream(request, self.frames())
        return None

    async def readiness(self, _: Request) -> HTTPResponse:
        raise ZeroDivisionError("a bug")

    async def drain(self, _: Request) -> HTTPResponse:
        raise WorkerOom("worker-cpu-0 reached its limit", details={"limit_bytes": 5}, source="worker:worker-cpu-0")

    async def loading(self, _: Request) -> HTTPResponse:
        await self.release.wait()
        return reply({})

    async def other(self, _: Request, job: str = "") -> HTTPResponse:
        return reply({"job": job})

    def table(self) -> dict[str, Any]:
        return {
            "infer": self.infer,
            "readiness": self.readiness,
            "drain": self.drain,
            "sleep": self.drain,
            "count_tokens": self.drain,
            "loading": self.loading,
            "attach": self.other,
            "cancel": self.other,
        }


@asynccontextmanager
async def serving(
    handlers: Handlers, *, connections: int = 4, origins: tuple[str, ...] = ()
) -> AsyncIterator[HttpClient]:
    app = create_app(
        "test",
        source="worker:test",
        access=Access(tokens=(TOKEN,), callers={}, origins=origins),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=connections,
    )
    mount(app, WORKER, handlers.table())
    async with served(app) as url, HttpClient(url, token=TOKEN, source="worker") as client:
        yield client
        handlers.release.set()


async def test_a_request_is_decoded_and_answered() -> None:
    async with serving(Handlers()) as client:
        assert (await client.call("POST", "/v1/inference", body={"prompt": "hi"}))["prompt"] == "hi"


async def test_an_error_crosses_the_wire_as_its_own_class() -> None:
    async with serving(Handlers()) as client:
        with pytest.raises(WorkerOom, match="reached its limit") as caught:
            await client.call("POST", "/v1/drain")
        assert caught.value.source == "worker:worker-cpu-0"
        assert caught.value.details == {"limit_bytes": 5}


async def test_a_name_in_the_path_arrives_as_it_was_meant() -> None:
    async with serving(Handlers()) as client:
        assert await client.call("DELETE", "/v1/inference/a%2Fb%20%C3%A9") == {"job": "a/b é"}
        for broken in ("%00", "a%0Ab", "%FF"):
            with pytest.raises(InvalidRequest, match="path has"):
                await client.call("DELETE", f"/v1/inference/{broken}")


async def test_a_bug_is_internal_and_tells_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(Handlers()) as client:
        with pytest.raises(RbeeError, match="something went wrong inside") as caught:
            await client.call("GET", "/v1/ready", headers={"X-Request-Id": "req-1"})
    assert caught.value.code == "internal"
    assert caught.value.hint == "journalctl REQUEST_ID=req-1"
    said = capsys.readouterr().err
    assert "request.failed request_id=req-1 path=/v1/ready error=ZeroDivisionError" in said
    assert "test_app.py:" in said
    assert "a bug" not in said


async def test_a_reader_that_leaves_ends_the_stream_at_its_source() -> None:
    handlers = Handlers()
    async with serving(handlers) as client:
        stream = client.stream("POST", "/v1/inference", body={"prompt": "hi"})
        assert [(await anext(stream)).id for _ in range(3)] == ["1", "2", "3"]
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(handlers.closed.wait(), 5 * PATIENCE)


async def test_a_stream_ends_when_its_source_does() -> None:
    handlers = Handlers()
    handlers.release.set()
    async with serving(handlers) as client:
        got = [frame.id async for frame in client.stream("POST", "/v1/inference", body={"prompt": "hi"})]
    assert got == ["1", "2", "3"]


async def test_a_refusal_before_the_first_event_is_no_stream() -> None:
    async with serving(Handlers()) as client:
        with pytest.raises(InvalidRequest, match="max_tokens: is text"):
            async for _ in client.stream("POST", "/v1/inference", body={"prompt": "a", "max_tokens": "x"}):
                pass


async def test_unknown_routes_and_methods_are_said_plainly() -> None:
    async with serving(Handlers()) as client:
        with pytest.raises(NotFound, match="no route /v9"):
            await client.call("GET", "/v9")
        with pytest.raises(InvalidRequest, match="PUT is not allowed on /v1/drain"):
            await client.call("PUT", "/v1/drain")
        async with aiohttp.ClientSession(client.base_url, headers={"Authorization": f"Bearer {TOKEN}"}) as anybody:
            async with anybody.put("/v1/drain") as response:
                assert (response.status, response.headers["Allow"]) == (405, "POST")
            async with anybody.put("/v1/inference/job-1") as response:
                assert (response.status, response.headers["Allow"]) == (405, "DELETE")
            async with anybody.head("/health") as response:
                assert response.status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413_and_the_daemon_lives(chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * (1 << 20)

    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with serving(Handlers()) as client, aiohttp.ClientSession(client.base_url, headers=headers) as sender:
        data: Any = pieces() if chunked else io.BytesIO(b"x" * (100 << 20))
        try:
            async with sender.post("/v1/inference", data=data) as response:
                assert response.status == 413
                assert (await response.json())["error"]["code"] == "payload_too_large"
        except aiohttp.ClientError:
            pass  # the daemon closed while we were still sending: as good an answer as TCP can carry
        assert (await client.call("POST", "/v1/inference", body={"prompt": "hi"}))["prompt"] == "hi"


async def test_one_caller_may_not_take_every_place() -> None:
    handlers = Handlers()
    async with serving(handlers, connections=1) as client:
        stream = client.stream("POST", "/v1/inference", body={"prompt": "hi"})
        await anext(stream)
        with pytest.raises(QueueFull, match="1 requests of this caller are in flight"):
            await client.call("POST", "/v1/inference", body={"prompt": "hi"})
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(handlers.closed.wait(), 5 * PATIENCE)


async def test_what_needs_no_token_and_what_does() -> None:
    async with serving(Handlers()) as client, aiohttp.ClientSession(client.base_url) as anybody:
        for path, status in {
            "/health": 200,
            "/metrics": 200,
            "/openapi.json": 200,
            "/v1/ready": 401,
            "/x": 401,
        }.items():
            async with anybody.get(path) as response:
                assert response.status == status, path
                assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
async def test_no_web_page_can_send_this(headers: dict[str, str], status: int) -> None:
    async with serving(Handlers()) as client, aiohttp.ClientSession(client.base_url) as page:
        headers["Authorization"] = f"Bearer {TOKEN}"
        async with page.post("/v1/inference", data=b'{"prompt":"a"}', headers=headers) as response:
            assert response.status == status


@pytest.mark.parametrize(("origin", "status"), [("http://ui.home", 204), ("http://evil.example", 403)])
async def test_a_page_of_a_listed_origin_may_ask_and_then_call(origin: str, status: int) -> None:
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    call = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
    async with (
        serving(Handlers(), origins=("http://ui.home",)) as client,
        aiohttp.ClientSession(client.base_url) as page,
    ):
        async with page.options("/v1/inference", headers=asks) as response:
            assert response.status == status
            allowed = response.headers.get("Access-Control-Allow-Origin")
            assert allowed == (origin if status == 204 else None)
            if status == 204:
                assert "POST" in response.headers["Access-Control-Allow-Methods"]
                assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        async with page.post("/v1/inference", json={"prompt": "a"}, headers=call) as response:
            assert response.status == (200 if status == 204 else 403)
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
        async with page.options("/v1/inference", headers={"Origin": origin}) as response:
            assert response.status in (401, 403)


async def test_a_wrong_token_is_unauthorized() -> None:
    async with serving(Handlers()) as client, HttpClient(client.base_url, token="wrong" * 9) as stranger:
        with pytest.raises(Unauthorized):
            await stranger.call("GET", "/v1/ready")


async def test_silence_is_a_timeout_and_nobody_there_is_unreachable() -> None:
    async with serving(Handlers()) as client:
        with pytest.raises(Timeout, match="did not answer within 0.2 s"):
            await client.call("GET", "/v1/loading/progress", timeout_s=0.2)
    async with HttpClient("http://127.0.0.1:1", source="queen") as nobody:
        with pytest.raises(PoolUnreachable, match="nothing listens there") as caught:
            await nobody.call("GET", "/health")
    assert caught.value.details["refused"]


def test_every_operation_wants_a_handler_and_no_other() -> None:
    app = create_app(
        "mount",
        source="x",
        access=Access(callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1024,
        connections=1,
    )
    with pytest.raises(ValueError, match="infer"):
        mount(app, WORKER, {})


@pytest.mark.parametrize(
    ("sent", "status", "code", "says"),
    [
        (b"GARBAGE\r\n\r\n", 400, "invalid_request", "not a request we can read"),
        (b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", 400, "invalid_request", "not a request we can read"),
        (b"POST /v1/drain HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400, "invalid_request", "not a request we can read"),
        (
            b"POST /v1/drain HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "invalid_request",
            "not a request we can read",
        ),
        (b"GET /health HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 413, "payload_too_large", "header is larger"),
        (b"NONE /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n", 405, "invalid_request", "NONE is not allowed"),
    ],
)
async def test_what_is_no_request_is_told_so_and_not_that_it_has_no_token(
    sent: bytes, status: int, code: str, says: str
) -> None:
    async with serving(Handlers()) as client:
        host, _, port = client.base_url.rpartition("/")[2].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * PATIENCE)
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        error = json.loads(await reader.readexactly(int(length[1])))["error"]
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert error["code"] == code
        assert says in error["message"]
        writer.close()


async def test_a_body_that_does_not_say_what_it_is_takes_a_key() -> None:
    handlers = Handlers()
    async with serving(handlers) as client, aiohttp.ClientSession(skip_auto_headers={"Content-Type"}) as session:
        url, key = f"{client.base_url}/v1/inference", {"Authorization": f"Bearer {TOKEN}"}
        for headers, status in (
            (key, 200),
            ({"X-Api-Key": TOKEN}, 200),
            (key | {"Content-Type": "text/plain"}, 400),
            (key | {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ):
            async with session.post(url, data=b'{"prompt": "hi"}', headers=headers) as answer:
                assert answer.status == status, headers


async def test_where_nobody_needs_a_key_a_body_says_what_it_is() -> None:
    app = create_app(
        "test",
        source="worker:test",
        access=Access(callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=4,
    )
    mount(app, WORKER, Handlers().table())
    async with (
        served(app) as url,
        aiohttp.ClientSession(skip_auto_headers={"Content-Type"}) as session,
        session.post(f"{url}/v1/inference", data=b'{"prompt": "hi"}') as answer,
    ):
        assert answer.status == 400
