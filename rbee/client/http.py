"""HTTP out for as long as it takes: one session, deadlines, streams."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from rbee.client import tls
from rbee.client.endpoint import CONNECT_S, Endpoint, NotHttp, Params, texts
from rbee.client.without_certificates import aiohttp
from rbee.errors import RbeeError, Timeout
from rbee.wire import codec
from rbee.wire.sse import Frame, Parser
from rbee.wire.version import HEADER

SILENCE_S = 60.0
"""A stream sends a comment every 10 s; one that is silent this long is cut."""

_PIECE_BYTES = 1 << 18


class HttpClient(Endpoint):
    """A ``Transport`` for daemons and for whoever follows streams: one session that keeps its connections."""

    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        try:
            async with (
                asyncio.timeout(limit_s),
                self._open().request(method, self._url(path), **self._what(body, params, headers)) as response,
            ):
                data = await response.read()
                return self._answer(data, response.status, response.headers.get(HEADER, ""))
        except aiohttp.ConnectionTimeoutError:
            raise self._unanswered(CONNECT_S) from None
        except TimeoutError:
            raise self._late(limit_s) from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise self._away(error) from None

    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Frame]:
        what = self._what(body, params, {"Accept": "text/event-stream", **(headers or {})})
        with self._theirs():
            async with self._open().request(method, self._url(path), **what) as response:
                self._check_version(response.headers.get(HEADER, ""))
                if response.status // 100 != 2:
                    raise self._refused(await response.read(), response.status)
                if response.content_type != "text/event-stream":
                    raise self.broken(f"a stream of {response.content_type}")
                parser = Parser()
                async for chunk in response.content.iter_any():
                    for frame in parser.feed(chunk):
                        yield frame

    @contextlib.asynccontextmanager
    async def bytes_from(self, path: str, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Give the offset that the answer begins at, and its bytes; raises as ``stream``."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        what: dict[str, Any] = {"headers": headers, "allow_redirects": False, "timeout": timeout}
        with self._theirs():
            response = await self._open().request("GET", self._url(path), **what)
        async with response:  # what its reader raises, such as a full disk, is not the other side's
            if response.status // 100 != 2:
                with self._theirs():
                    raise self._refused(await response.read(), response.status)
            yield offset if response.status == HTTPStatus.PARTIAL_CONTENT else 0, self._pieces_of(response)

    async def _pieces_of(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        with self._theirs():
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                yield piece

    @contextlib.contextmanager
    def _theirs(self) -> Iterator[None]:
        """Say of what happens to the connection that it is the other side's."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError:
            raise self._unanswered(CONNECT_S) from None
        except TimeoutError:
            raise Timeout(f"{self.source} was silent for {SILENCE_S:g} s", details={"url": self.base_url}) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._away(error) from None

    def _open(self) -> aiohttp.ClientSession:
        """Make the session inside the running loop, at first use."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._trust()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=None),
                headers=self._headers,
                read_bufsize=1 << 16,
                trust_env=False,
            )
        return self._session

    def _trust(self) -> ssl.SSLContext | bool:
        return tls.context(self._ca_file) if self.base_url.startswith("https:") else True

    def _url(self, path: str) -> str:
        return self.base_url + path

    def _what(self, body: Any, params: Params | None, headers: Mapping[str, str] | None) -> dict[str, Any]:
        what: dict[str, Any] = {"headers": dict(headers or {}), "allow_redirects": False}
        if body is not None:
            what["data"] = codec.dump_json(body).encode()
            what["headers"]["Content-Type"] = "application/json"
        if params:
            what["params"] = texts(params)
        if what["headers"].get("Accept") == "text/event-stream":
            what["timeout"] = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        return what

    def _away(self, error: Exception) -> RbeeError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return self._distrusted(getattr(error, "certificate_error", None) or error.__cause__ or error)
        if isinstance(error, aiohttp.ClientConnectorError):
            error = error.os_error
        elif isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
            error = EOFError()
        elif isinstance(error, aiohttp.ClientResponseError):
            error = NotHttp(error.message)
        return super()._away(error)
