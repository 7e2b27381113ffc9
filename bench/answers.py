"""One question and its streamed answer, over OpenAI's route, as cheaply as Python allows: readers share the cores.

While an answer comes, only its pieces are counted and their times kept. What it said is looked at when it has ended.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

from bench.servers import MODEL, SECRET, Server

PATH = "/v1/chat/completions"
FAR_S = 600.0
_PIECE = re.compile(rb'"content": ?"(?!")')
_ENDED = b"\n0\r\n\r\n"

Messages = Sequence[Mapping[str, str]]


@dataclass(slots=True)
class Answer:
    """Times are of the monotonic clock, in ns.

    Args:
        pieces: when text came; what comes in one piece of the network counts once.
        tokens: how many the answer has; 0 when it was not heard to its end.
        prompt_tokens: how many the question had, with the template around it.
    """

    asked_ns: int
    pieces: list[int] = field(default_factory=list)
    ended_ns: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    text: str = ""

    @property
    def first_ms(self) -> float:
        return (self.pieces[0] - self.asked_ns) / 1e6

    def gaps_ms(self, since_ns: int = 0, until_ns: int = 1 << 63) -> list[float]:
        """Return what passed between two pieces, of which the later came within these times."""
        pairs = zip(self.pieces, self.pieces[1:], strict=False)
        return [(later - one) / 1e6 for one, later in pairs if since_ns <= later <= until_ns]


class Reader(asyncio.Protocol):
    """One connection for one answer."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.pieces: list[int] = []
        self.ended_ns = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seen = 0

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self.raw += data
        cut = self.raw.rfind(b"\n") + 1
        if _PIECE.search(self.raw, self._seen, cut):
            self.pieces.append(now_ns)
        self._seen = max(self._seen, cut)
        if self.raw.endswith(_ENDED) or not self.raw.startswith(b"HTTP/1.1 200"):
            self._end(now_ns)

    def connection_lost(self, _: Exception | None) -> None:
        self._end(time.monotonic_ns())

    def _end(self, now_ns: int) -> None:
        if not self.done.done():
            self.ended_ns = now_ns
            self.done.set_result(None)


def body(server: Server, messages: Messages, tokens: int) -> dict[str, Any]:
    """Return a question that is answered with that many tokens, always the same ones."""
    asked: dict[str, Any] = {"model": MODEL, "messages": list(messages), "max_tokens": tokens, "temperature": 0.0}
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return asked if server.ends else asked | {"ignore_eos": True}


async def ask(server: Server, messages: Messages, tokens: int, *, exact: bool = True) -> Answer:
    """Return the answer; where only its beginning counts (not ``exact``) it may end by itself.

    Raises:
        RuntimeError: there is none, or it is shorter than asked for: that must not pass for speed.
    """
    async with asking(server, messages, tokens) as (asked_ns, reader):
        await reader.done
    answer = Answer(asked_ns=asked_ns, pieces=reader.pieces, ended_ns=reader.ended_ns)
    read(answer, bytes(reader.raw), tokens, exact=exact)
    return answer


@contextlib.asynccontextmanager
async def asking(server: Server, messages: Messages, tokens: int) -> AsyncIterator[tuple[int, Reader]]:
    """Ask, and give when that was and who reads the answer; nobody does any more when this is left."""
    host, _, port = server.process.address.rpartition(":")
    sent = json.dumps(body(server, messages, tokens)).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {server.process.address}\r\nAuthorization: Bearer {SECRET}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    ).encode()
    asked_ns = time.monotonic_ns()
    async with asyncio.timeout(FAR_S):
        transport, reader = await asyncio.get_running_loop().create_connection(Reader, host, int(port))
        cast(asyncio.WriteTransport, transport).write(head + sent)
        try:
            yield asked_ns, reader
        finally:
            transport.close()


def read(answer: Answer, raw: bytes, tokens: int, *, exact: bool = True) -> None:
    """Fill in what the answer said.

    Raises:
        RuntimeError: it is none, or not of that many tokens.
    """
    heard = _Heard()
    parser = httptools.HttpResponseParser(heard)
    parser.feed_data(raw)
    if parser.get_status_code() != 200:
        raise RuntimeError(f"no answer came: {raw[:500]!r}")
    finish = ""
    for line in bytes(heard.body).splitlines():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[len(b"data: ") :])
        if "error" in event:
            raise RuntimeError(f"the answer broke off: {event['error']}")
        for choice in event.get("choices", ()):
            answer.text += choice.get("delta", {}).get("content") or ""
            finish = choice.get("finish_reason") or finish
        if usage := event.get("usage"):
            answer.prompt_tokens, answer.tokens = usage["prompt_tokens"], usage["completion_tokens"]
    if not answer.tokens and finish == "length":
        answer.tokens = tokens
    if (exact and answer.tokens != tokens) or not answer.pieces:
        raise RuntimeError(f"{tokens} tokens were asked for, {answer.tokens} came, and the end was {finish!r}")


class _Heard:
    def __init__(self) -> None:
        self.body = bytearray()

    def on_body(self, data: bytes) -> None:
        self.body += data
