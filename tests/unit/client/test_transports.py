"""Both ways of HTTP out, held to the same answers and the same words."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sanic import HTTPResponse, Request

from rbee.client.blocking import BlockingHttp, at_once
from rbee.client.endpoint import part
from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.daemon.access import Access
from rbee.daemon.app import create_app, reply
from rbee.errors import ConfigInvalid, InvalidRequest, NotFound, PoolUnreachable, Timeout, Unauthorized
from tests.support.serving import served

TOKEN = "0123456789abcdef-fleet"
Called = Callable[..., Awaitable[Any]]


async def _in_a_loop(url: str, *asked: Any, timeout_s: float = 10.0, body: Any = None, **how: Any) -> Any:
    async with HttpClient(url, source="queen", timeout_s=timeout_s, **how) as http:
        return await http.call(*asked, body=body)


async def _blocking(url: str, *asked: Any, timeout_s: float = 10.0, body: Any = None, **how: Any) -> Any:
    http = BlockingHttp(url, source="queen", timeout_s=timeout_s, **how)
    return await asyncio.to_thread(lambda: at_once(http.call(*asked, body=body)))


@pytest.fixture(params=[_in_a_loop, _blocking], ids=["loop", "blocking"])
def call(request: pytest.FixtureRequest) -> Called:
    way: Called = request.param
    return way


async def _echoed(request: Request) -> HTTPResponse:
    return reply({"query": request.query_string, "body": request.json if request.body else None, "long": "x" * 300_000})


async def _refused(_: Request) -> HTTPResponse:
    raise NotFound("there is no job 7", hint="rbee-keeper jobs list", details={"id": "7"})


@pytest.fixture
async def daemon() -> AsyncIterator[str]:
    """Yield the URL of a real daemon's application that wants a token."""
    app = create_app(
        "answering-queen",
        source="queen",
        access=Access(tokens=(TOKEN,), callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=64,
    )
    app.add_route(_echoed, "/echo", methods=["GET", "POST", "DELETE"])
    app.add_route(_refused, "/refused")
    async with served(app) as url:
        yield url


@contextlib.asynccontextmanager
async def saying(*pieces: bytes, pause_s: float = 0.0, trust: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yield the URL of who says ``pieces`` to anybody, each after a pause, and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(4096)
            for piece in pieces:
                await asyncio.sleep(pause_s)  # what is tested is slowness itself
                writer.write(piece)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    talks: list[asyncio.Task[None]] = []
    async with await asyncio.start_server(
        lambda reader, writer: talks.append(asyncio.create_task(talk(reader, writer))), "127.0.0.1", 0, ssl=trust
    ) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{'https' if trust else 'http'}://{host}:{port}"
        await asyncio.gather(*talks)


async def test_an_answer_is_its_json(call: Called, daemon: str) -> None:
    answer = await call(daemon, "POST", "/echo", body={"a": "ä"}, token=TOKEN)
    assert (answer["body"], len(answer["long"])) == ({"a": "ä"}, 300_000)
    assert (await call(daemon, "GET", "/echo", token=TOKEN))["body"] is None


async def test_parameters_are_quoted_and_those_not_given_left_out(daemon: str) -> None:
    params = {"after": "ä&b=c", "limit": 3, "model": None}
    async with HttpClient(daemon, token=TOKEN) as http:
        one = await http.call("GET", "/echo", params=params)
    other = await asyncio.to_thread(
        lambda: at_once(BlockingHttp(daemon, token=TOKEN).call("GET", "/echo", params=params))
    )
    assert one["query"].lower() == other["query"].lower() == "after=%c3%a4%26b%3dc&limit=3"


async def test_an_error_arrives_as_what_it_was(call: Called, daemon: str) -> None:
    with pytest.raises(NotFound) as refused:
        await call(daemon, "GET", "/refused", token=TOKEN)
    assert (refused.value.message, refused.value.hint) == ("there is no job 7", "rbee-keeper jobs list")
    with pytest.raises(Unauthorized):
        await call(daemon, "GET", "/echo", token="of-another-house-entirely")


async def test_nobody_there_is_said_with_the_address(call: Called) -> None:
    with pytest.raises(PoolUnreachable, match=r"queen at http://127\.0\.0\.1:1 cannot be reached: nothing listens"):
        await call("http://127.0.0.1:1", "GET", "/health")


@pytest.mark.parametrize(
    ("url", "why", "hint"),
    [
        ("http://127.0.0.1:99999", "that is no address", "expected http://HOST:PORT"),
        ("http://no-such-host.invalid:80", "no address of no-such-host.invalid is known here", "getent hosts no-such"),
        (f"http://{'a' * 70}.x:80", "no address of a{70}.x is known here", "getent hosts aaa"),
        ("http://a..b:80", "no address of a..b is known here", "getent hosts a..b"),
        ("http://[fe80::1]:80", "invalid argument", "ping fe80::1"),
    ],
)
async def test_an_address_that_leads_nowhere_is_said_to(call: Called, url: str, why: str, hint: str) -> None:
    with pytest.raises(PoolUnreachable, match=f"cannot be reached: {why}$") as away:
        await call(url, "GET", "/health")
    assert hint in away.value.hint


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "it hung up before its answer was whole"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "it hung up before its answer was whole"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,2", "it hung up before its answer was whole"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n",
            "it hung up before its answer was whole",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "what listens there speaks no HTTP"),
    ],
    ids=["nothing", "half a header", "half a body", "half the chunks", "another protocol"],
)
async def test_what_is_cut_off_or_no_http_is_unreachable(call: Called, said: bytes, why: str) -> None:
    async with saying(said) as url:
        with pytest.raises(PoolUnreachable, match=f"cannot be reached: {why}$"):
            await call(url, "GET", "/health")


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "body is not JSON: .*"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{"a"', "body is not JSON: .*"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff", "body is not UTF-8: .*"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", "HTTP 404"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "HTTP 301"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}", "HTTP 502"),
    ],
    ids=["a page", "half of JSON", "no text", "no page", "elsewhere", "a proxy without us"],
)
async def test_who_is_no_rbee_is_said_to_be_none(call: Called, said: bytes, what: str) -> None:
    async with saying(said) as url:
        with pytest.raises(PoolUnreachable, match=rf"queen at .* answered what is no answer of rbee \({what}\)") as no:
            await call(url, "GET", "/health")
        assert no.value.hint == f"is it rbee that listens there? curl -si {url}/health"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", "HTTP 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "a stream of text/html"),
    ],
)
async def test_what_is_no_stream_is_said_to_be_none(said: bytes, what: str) -> None:
    async with saying(said) as url, HttpClient(url, source="queen") as http:
        with pytest.raises(PoolUnreachable, match=rf"answered what is no answer of rbee \({what}\)"):
            async for _ in http.stream("GET", "/events"):
                pass


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"null", "body is no list"),
        (b'[{"id": 7}]', "id: is a whole number, .*"),
        (b'["x"]', "body is text, .*"),
    ],
)
async def test_json_of_another_shape_is_no_answer_of_ours(answer: bytes, what: str) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    async with saying(said) as url, HttpClient(url, source="pool mac") as http:
        with pytest.raises(PoolUnreachable, match=rf"pool mac at .* answered what is no answer of rbee \({what}\)"):
            await PoolClient(http).list_models()


async def test_an_answer_in_chunks_and_in_pieces_is_put_together(call: Called) -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    async with saying(*(bytes([byte]) for byte in whole)) as url:
        assert await call(url, "GET", "/health") == [1, 2]


async def test_who_dribbles_is_given_up_when_the_time_is_over(call: Called) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with saying(head, *(b"1" for _ in range(1000)), pause_s=0.05) as url:
        async with asyncio.timeout(20):
            with pytest.raises(Timeout, match=r"queen did not answer within 0\.3 s"):
                await call(url, "GET", "/health", timeout_s=0.3)


async def test_a_host_that_answers_to_no_connection_is_unreachable(
    call: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbee.client.http.CONNECT_S", 0.2)
    monkeypatch.setattr("rbee.client.blocking.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as waiting:
        address = deaf.getsockname()
        for _ in range(3):  # more than it lets wait: the kernel drops who comes next, as a firewall does
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        with pytest.raises(PoolUnreachable, match=r"queen at .* cannot be reached: no answer within 0\.2 s"):
            await call(f"http://127.0.0.1:{address[1]}", "GET", "/health", timeout_s=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a PEM file of a certificate for 127.0.0.1 that nobody else signed, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=blep \
        -addext subjectAltName=IP:127.0.0.1 -keyout {folder}/key -out {folder}/crt && cat {folder}/crt {folder}/key"
    done = subprocess.run(["sh", "-c", made], check=True, capture_output=True)
    (folder / "both.pem").write_bytes(done.stdout)
    return folder / "both.pem"


async def test_over_tls_only_who_is_vouched_for_is_told_anything(call: Called, certificate: Path) -> None:
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate)
    async with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", trust=trust) as url:
        assert await call(url, "GET", "/health", ca_file=str(certificate)) == []
        with pytest.raises(PoolUnreachable, match="is not trusted: self-signed certificate"):
            await call(url, "GET", "/health")
        with pytest.raises(ConfigInvalid, match=r"tls_ca is /nowhere: No such file"):
            await call(url, "GET", "/health", ca_file="/nowhere")
        with pytest.raises(PoolUnreachable, match="cannot be reached: "):
            await call(url.replace("https", "http"), "GET", "/health")


async def test_https_to_who_speaks_none_is_said_so(call: Called) -> None:
    async with saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as url:
        with pytest.raises(PoolUnreachable, match="is not trusted: it speaks no TLS"):
            await call(url.replace("http", "https"), "GET", "/health")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_make_it_another_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="expected one that somebody can have"):
        part(name)


async def test_what_follows_a_stream_says_that_it_needs_the_other_way() -> None:
    with pytest.raises(NotImplementedError, match="GET /v2/tasks/1/events"):
        BlockingHttp("http://127.0.0.1:1").stream("GET", "/v2/tasks/1/events")


def test_what_waits_is_not_done_at_once() -> None:
    with pytest.raises(RuntimeError, match="wants an event loop"):
        at_once(asyncio.sleep(0))
