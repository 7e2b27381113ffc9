"""Connections that are kept for the next question, against real servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from rbee.client import line as module
from rbee.client.line_client import LineClient
from rbee.client.lines import Lines
from rbee.errors import NoCapacity, PoolUnreachable
from rbee.wire.sse import Frame
from tests.rig.waiting import PATIENCE
from tests.unit.client.test_line import HEAD, chunk, frame, one_by_one
from tests.unit.queen.conftest import soon

WHOLE = HEAD + chunk(frame(1).encode()) + b"0\r\n\r\n"
_ENVELOPE = b'{"error":{"code":"no_capacity","message":"all slots are taken"}}'
REFUSED = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s") % (
    len(_ENVELOPE),
    _ENVELOPE,
)


class Server:
    """Says ``answers`` in their order, whichever connection asks; None hangs up without a word."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.came = 0
        self.asked: list[bytes] = []
        self.url = ""
        self.open: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Server"]:
        self.listening = listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = listening.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        async with listening:
            try:
                yield self
            finally:
                for writer in set(self.open):
                    writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.asked.append(await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        self.open.discard(writer)
        writer.close()


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    kept = Lines()
    yield kept
    kept.close()
    assert not len(kept)


def client_of(server: Server, lines: Lines) -> LineClient:
    client = LineClient(server.url, source="worker")
    client.lines = lines
    return client


async def read(client: LineClient, body: str = "x") -> list[Frame]:
    return [each async for each in one_by_one(client, "POST", "/v1/inference", body=body)]


async def test_the_next_question_goes_over_the_same_connection(lines: Lines) -> None:
    async with Server(WHOLE, WHOLE, REFUSED, WHOLE).serve() as server:
        assert await read(client_of(server, lines), "one") == [frame(1)]
        client = client_of(server, lines)
        client.prepare()
        client.ask_ahead("POST", "/v1/inference", body="two")
        assert await read(client, "two") == [frame(1)]
        with pytest.raises(NoCapacity, match="all slots are taken"):
            await read(client_of(server, lines))
        assert await read(client_of(server, lines)) == [frame(1)]
        assert (server.came, len(lines), server.asked[:2]) == (1, 1, [b'"one"', b'"two"'])


async def test_two_at_once_are_two_connections(lines: Lines) -> None:
    async with Server(WHOLE, WHOLE, WHOLE).serve() as server:
        assert await asyncio.gather(*(read(client_of(server, lines)) for _ in range(2))) == [[frame(1)]] * 2
        assert (server.came, len(lines)) == (2, 2)
        await read(client_of(server, lines))
        assert server.came == 2


async def test_one_whose_last_event_was_read_is_kept_when_its_answer_is_over(lines: Lines) -> None:
    async with Server(HEAD + chunk(frame(1).encode())).serve() as server:
        client = client_of(server, lines)
        stream = client.batches("POST", "/v1/inference", body="x")
        assert await anext(stream) == (frame(1),)
        client.release()
        await stream.aclose()
        assert not len(lines), "its answer is not over yet"
        next(iter(server.open)).write(b"0\r\n\r\n")
        await soon(lambda: len(lines) == 1)


async def test_one_whose_answer_does_not_end_is_closed(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.05)
    async with Server(HEAD + chunk(frame(1).encode())).serve() as server:
        client = client_of(server, lines)
        stream = client.batches("POST", "/v1/inference", body="x")
        await anext(stream)
        client.release()
        await stream.aclose()
        await soon(lambda: not server.open)
        assert not len(lines)


async def test_one_that_was_not_read_to_its_end_is_closed_at_once(lines: Lines) -> None:
    async with Server(HEAD + chunk(frame(1).encode())).serve() as server:
        stream = client_of(server, lines).batches("POST", "/v1/inference", body="x")
        await anext(stream)
        await stream.aclose()
        await soon(lambda: not server.open)
        assert not len(lines)


@pytest.mark.parametrize(
    "answer", [WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), WHOLE + b"HTTP/1.1 200 OK\r\n"]
)
async def test_one_that_the_other_side_does_not_keep_or_that_says_too_much_is_not_kept(
    lines: Lines, answer: bytes
) -> None:
    async with Server(answer).serve() as server:
        with contextlib.suppress(PoolUnreachable):
            await read(client_of(server, lines))
        await soon(lambda: not server.open)
        assert not len(lines)


async def test_one_that_the_other_side_closes_or_speaks_on_unasked_is_forgotten(lines: Lines) -> None:
    async with Server(WHOLE, WHOLE).serve() as server:
        await read(client_of(server, lines))
        next(iter(server.open)).write(b"hello?")
        await soon(lambda: not len(lines))
        await read(client_of(server, lines))
        next(iter(server.open)).close()
        await soon(lambda: not len(lines))
        assert server.came == 2


async def test_one_that_waits_too_long_is_closed(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    async with Server(WHOLE).serve() as server:
        await read(client_of(server, lines))
        await soon(lambda: not len(lines) and not server.open)


async def test_one_that_breaks_without_a_word_is_asked_again_on_a_new_one_and_only_once(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALE_S", 60.0)
    async with Server(WHOLE, None, WHOLE, None, None).serve() as server:
        await read(client_of(server, lines), "first")
        assert await read(client_of(server, lines), "second") == [frame(1)]
        assert (server.came, server.asked[1:]) == (2, [b'"second"'] * 2)
        with pytest.raises(PoolUnreachable, match="hung up"):
            await read(client_of(server, lines), "third")
        assert server.asked[3:] == [b'"third"'] * 2


async def test_one_that_breaks_later_was_not_broken_before(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_S", 0.0)
    async with Server(WHOLE, None, WHOLE).serve() as server:
        await read(client_of(server, lines))
        with pytest.raises(PoolUnreachable, match="hung up"):
            await read(client_of(server, lines))
        assert len(server.asked) == 2


async def test_whoever_hangs_up_is_not_asked_again(lines: Lines) -> None:
    async with Server(WHOLE, b"").serve() as server:
        await read(client_of(server, lines))
        client = client_of(server, lines)
        reading = asyncio.create_task(read(client))
        await soon(lambda: len(server.asked) == 2)
        client.hang_up()
        with pytest.raises(PoolUnreachable):
            await reading
        assert len(server.asked) == 2


async def test_one_that_broke_at_once_is_stale_however_late_somebody_looks(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALE_S", 60.0)
    async with Server(WHOLE, None, WHOLE).serve() as server:
        await read(client_of(server, lines))
        client = client_of(server, lines)
        client.ask_ahead("POST", "/v1/inference", body="x")
        assert client._ahead is not None
        line = await client._ahead
        await soon(lambda: line.ended is not None)
        line._asked_s, line._ended_s = line._asked_s - 120, line._ended_s - 120  # as if it were later by now
        assert await read(client) == [frame(1)]


async def test_what_may_have_been_sent_is_not_said_to_be_refused(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_S", 60.0)
    async with Server(WHOLE, None).serve() as server:
        await read(client_of(server, lines))
        server.listening.close()
        with pytest.raises(PoolUnreachable) as fresh:
            await read(client_of(server, Lines()))
        assert fresh.value.details["refused"] is True
        with pytest.raises(PoolUnreachable) as again:
            await read(client_of(server, lines))
        assert len(server.asked) == 2
    assert (again.value.details["refused"], again.value.details["sent"]) == (False, True)


async def test_whoever_hangs_up_on_a_peer_who_takes_nothing_is_free_at_once(lines: Lines) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    listening = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    host, port = listening.sockets[0].getsockname()
    client = LineClient(f"http://{host}:{port}", source="worker")
    client.lines = lines
    async with listening:
        reading = asyncio.create_task(read(client, "x" * (16 << 20)))
        await soon(lambda: client._line is not None)
        client.hang_up()
        with pytest.raises(PoolUnreachable, match="hung up"):
            async with asyncio.timeout(20 * PATIENCE):
                await reading
        gone.set()
