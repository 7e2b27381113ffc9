"""A STAND-IN for a worker: speaks its protocol, says a text that means nothing, at a pace that is asked for.

    python -m bench.paced_worker [--pace TOKENS/S] [--first-ms MS]

What a worker costs is not what is measured here: this one answers ``POST /v1/inference`` and OpenAI's
``POST /v1/chat/completions`` in as little time as Python allows, one token per event as workers do, and writes into
each token when it was sent, on the monotonic clock that all processes of a machine share. Its address is the first line
that it prints. It checks no secret, and cares about nothing in a request but how many tokens are wanted.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import cast

import uvloop

MODEL = "paced"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAST = b"0\r\n\r\n"


def _chunk_of(delta: str, finish: str = "null") -> str:
    choice = f'{{"index":0,"delta":{delta},"finish_reason":{finish}}}'
    return f'{{"id":"c","object":"chat.completion.chunk","created":1,"model":"{MODEL}","choices":[{choice}]}}'


def native(job: str, n: int, count: int) -> bytes:
    """Return event ``n`` of a generation, as workers send it; there are ``count`` + 2."""
    if n == 0:
        kind, data = "started", f'{{"worker":"worker-cpu-0","model":"{MODEL}","seed":1,"id":"{job}"}}'
    elif n <= count:
        kind, data = "token", f'{{"i":{n - 1},"t":"@{time.monotonic_ns()} ","ids":[{n}]}}'
    else:
        kind = "end"
        data = f'{{"tokens_in":3,"tokens_out":{count},"stop_reason":"max_tokens","decode_ms":1.0,"ttft_ms":1.0}}'
    return f"id: {n + 1}\nevent: {kind}\ndata: {data}\n\n".encode()


def openai(_: str, n: int, count: int) -> bytes:
    """Return the same as OpenAI's chunks."""
    if n == 0:
        data = _chunk_of('{"role":"assistant","content":""}')
    elif n <= count:
        data = _chunk_of(f'{{"content":"@{time.monotonic_ns()} "}}')
    else:
        data = _chunk_of("{}", '"length"') + "\n\ndata: [DONE]"
    return f"data: {data}\n\n".encode()


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    pace_s = 0.02
    first_s = 0.02

    def __init__(self) -> None:
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._due is not None:
            self._due.cancel()

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, found, body = self._rest.partition(b"\r\n\r\n")
        if not found:
            return
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) >= size:
            self._rest = body[size:]
            self._answer(head.split(b" ", 2)[:2], body[:size])

    def _answer(self, asked: list[bytes], body: bytes) -> None:
        match asked:
            case [b"POST", b"/v1/inference"]:
                self._begin(native, json.loads(body))
            case [b"POST", b"/v1/chat/completions"]:
                self._begin(openai, json.loads(body))
            case [b"DELETE", _]:
                self._write(b"HTTP/1.1 204 No Content\r\n\r\n")
            case _:
                self._write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _begin(self, event: Callable[[str, int, int], bytes], asked: dict[str, object]) -> None:
        self._write(_HEAD + _chunk(event(str(asked.get("id")), 0, 0)))
        loop = asyncio.get_running_loop()
        at_s = loop.time() + self.first_s
        self._due = loop.call_at(at_s, self._say, event, str(asked.get("id")), 1, int(str(asked["max_tokens"])), at_s)

    def _say(self, event: Callable[[str, int, int], bytes], job: str, n: int, count: int, at_s: float) -> None:
        if self._transport is None:
            return
        self._write(_chunk(event(job, n, count)))
        if n == count:
            self._write(_chunk(event(job, n + 1, count)) + _LAST)
            return
        at_s += self.pace_s
        self._due = asyncio.get_running_loop().call_at(at_s, self._say, event, job, n + 1, count, at_s)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(pace: float, first_ms: float) -> None:
    """Serve until killed."""
    Connection.pace_s, Connection.first_s = 1 / pace, first_ms / 1000
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pace", type=float, default=50.0, help="tokens a second of each stream [50]")
    parser.add_argument("--first-ms", type=float, default=20.0, help="from the request to the first token [20]")
    given = parser.parse_args()
    uvloop.run(serve(given.pace, given.first_ms))


if __name__ == "__main__":
    main()
