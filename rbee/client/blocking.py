"""One question, one answer, no event loop: what a command like ``jobs list`` needs, and an eighth of a second sooner.

The standard library's client would bring its parser of mail along, so the answer is read by Sanic's own parser.
"""

import socket
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

import httptools

from rbee.client.endpoint import CONNECT_S, Endpoint, NotHttp, Params, texts
from rbee.wire import codec
from rbee.wire.version import HEADER

if TYPE_CHECKING:
    from rbee.wire.sse import Frame

T = TypeVar("T")
_PIECE_BYTES = 1 << 16


def at_once(asked: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing, as the operations do over ``BlockingHttp``."""
    try:
        asked.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    asked.close()
    raise RuntimeError(f"{asked!r} wants an event loop")


class BlockingHttp(Endpoint):
    """A ``Transport`` whose calls return without having waited in a loop; each has a connection of its own."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        given = texts(params)
        target = f"{path}?{urlencode(given)}" if given else path
        data = b"" if body is None else codec.dump_json(body).encode()
        try:
            url = urlsplit(self.base_url)
            until = time.monotonic() + limit_s
            with self._connected(url, min(CONNECT_S, limit_s)) as sock:
                sock.settimeout(_left(until))
                sock.sendall(_request(method, url, target, {**self._headers, **(headers or {})}, data))
                answer = _read(sock, until)
        except TimeoutError:
            raise self._late(limit_s) from None
        except httptools.HttpParserError as error:
            raise self._away(NotHttp(str(error))) from None
        except (OSError, ValueError, EOFError) as error:  # ValueError: a port, a host's name
            raise self._away(error) from None
        return self._answer(bytes(answer.body), answer.status, answer.version)

    def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "AsyncIterator[Frame]":
        raise NotImplementedError(f"{method} {path} is followed for as long as it takes: HttpClient does that")

    def _connected(self, url: SplitResult, timeout_s: float) -> socket.socket:
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            sock = socket.create_connection((host, port), timeout_s)
        except TimeoutError:
            if timeout_s < CONNECT_S:
                raise
            raise self._unanswered(timeout_s) from None
        if url.scheme != "https":
            return sock
        import ssl  # noqa: PLC0415

        from rbee.client import tls  # noqa: PLC0415

        try:
            return tls.context(self._ca_file).wrap_socket(sock, server_hostname=host)
        except ssl.SSLError as error:
            raise self._distrusted(error) from None
        finally:
            sock.close()  # its descriptor is the wrapped one's by then, if there is one


class _Answer:
    """What httptools calls back as it reads."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.version = ""
        self.status = 0
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == HEADER.lower().encode():
            self.version = value.decode("latin-1")

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.whole = True


def _request(method: str, url: SplitResult, target: str, headers: Mapping[str, str], data: bytes) -> bytes:
    kind = {"Content-Type": "application/json"} if data else {}
    wanted = {"Host": url.netloc, "Connection": "close", **kind, "Content-Length": str(len(data)), **headers}
    lines = [f"{method} {url.path}{target} HTTP/1.1", *(f"{name}: {value}" for name, value in wanted.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


def _read(sock: socket.socket, until: float) -> _Answer:
    """Return the one answer.

    Raises:
        OSError: the connection broke; TimeoutError at ``until``.
        EOFError: it was closed before the answer was whole.
        HttpParserError: it is no HTTP.
    """
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.whole:
        sock.settimeout(_left(until))
        piece = sock.recv(_PIECE_BYTES)
        if not piece:
            raise EOFError
        parser.feed_data(piece)
    answer.status = parser.get_status_code()
    return answer


def _left(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
