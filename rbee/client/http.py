"""HTTP out: one session, deadlines, and error envelopes that arrive as the class they left as."""

import asyncio
import contextlib
import errno
import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from rbee import __version__
from rbee.client import tls
from rbee.client.without_certificates import aiohttp
from rbee.errors import PoolUnreachable, RbeeError, Timeout, VersionMismatch
from rbee.wire import codec
from rbee.wire.envelope import from_envelope
from rbee.wire.sse import Frame, Parser
from rbee.wire.version import HEADER, same_line

CONNECT_S = 3.0
SILENCE_S = 60.0
"""A stream sends a comment every 10 s; one that is silent this long is cut."""

_PIECE_BYTES = 1 << 18

Params = Mapping[str, str | int | float | None]


class HttpClient:
    """Speaks to one daemon at ``base_url``.

    Args:
        token: bearer token to present; empty for none.
        source: what to call the other side in errors, ``queen`` or ``pool blep``.
        timeout_s: for a whole ``call``; streams have none, but may not fall silent.
        unreachable: the class for "nobody answers there".
        ca_file: PEM file of who signs the other side's certificate; empty: the system's list.
        same_version: refuse to go on with a daemon of another version, as a person's command should. Daemons read
            each other leniently instead, since they are upgraded one after the other.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str = "",
        source: str = "",
        timeout_s: float = 10.0,
        unreachable: type[RbeeError] = PoolUnreachable,
        ca_file: str = "",
        same_version: bool = False,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.source = source or self.base_url
        self.timeout_s = timeout_s
        self._unreachable = unreachable
        self._ca_file = ca_file
        self._same_version = same_version
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

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
        """Return the JSON answer, None when it has no body.

        Raises:
            RbeeError: of the class the other side raised; PoolUnreachable or Timeout when it did not answer.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            async with (
                asyncio.timeout(limit_s),
                self._open().request(method, self._url(path), **self._what(body, params, headers)) as response,
            ):
                data = await response.read()
                self._check_version(response.headers.get(HEADER, ""))
                if response.status >= 400:
                    raise self._refused(data, response.status)
                return codec.parse_json(data) if data else None
        except TimeoutError:
            raise Timeout(
                f"{self.source} did not answer within {limit_s:g} s", details={"url": self.base_url}
            ) from None
        except (aiohttp.ClientError, OSError) as error:
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
        """Yield the events of an SSE answer; closing the iterator closes the connection.

        Raises:
            RbeeError: as ``call``; also when the stream is cut, whoever cut it.
        """
        what = self._what(body, params, {"Accept": "text/event-stream", **(headers or {})})
        try:
            async with self._open().request(method, self._url(path), **what) as response:
                self._check_version(response.headers.get(HEADER, ""))
                if response.status >= 400:
                    raise self._refused(await response.read(), response.status)
                parser = Parser()
                async for chunk in response.content.iter_any():
                    for frame in parser.feed(chunk):
                        yield frame
        except TimeoutError:
            raise Timeout(f"{self.source} was silent for {SILENCE_S:g} s", details={"url": self.base_url}) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._away(error) from None

    @contextlib.asynccontextmanager
    async def bytes_from(self, path: str, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Give the offset that the answer begins at, and its bytes; raises as ``stream``."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        what: dict[str, Any] = {"headers": headers, "allow_redirects": False, "timeout": timeout}
        try:
            async with self._open().request("GET", self._url(path), **what) as response:
                if response.status >= 400:
                    raise self._refused(await response.read(), response.status)
                start = offset if response.status == 206 else 0
                yield start, response.content.iter_chunked(_PIECE_BYTES)
        except TimeoutError:
            raise Timeout(f"{self.source} was silent for {SILENCE_S:g} s", details={"url": self.base_url}) from None
        except (aiohttp.ClientError, OSError) as error:
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
            what["params"] = {key: str(value) for key, value in params.items() if value is not None}
        if what["headers"].get("Accept") == "text/event-stream":
            what["timeout"] = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        return what

    def _check_version(self, theirs: str) -> None:
        if self._same_version and theirs and not same_line(theirs, __version__):
            raise VersionMismatch(
                f"{self.source} at {self.base_url} is rbee {theirs}, this command is {__version__}",
                hint="install the same version on both; a daemon that still runs an old one: systemctl restart",
                details={"version": theirs, "caller": __version__},
            )

    def _refused(self, data: bytes, status: int) -> RbeeError:
        try:
            body = codec.parse_json(data)
        except RbeeError:
            body = None
        return from_envelope(body, status=status, source=self.source)

    def _away(self, error: Exception) -> RbeeError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return self._distrusted(error)
        code = getattr(error, "errno", None)
        refused = isinstance(code, int) and abs(code) == errno.ECONNREFUSED
        what = "nothing listens there" if refused else str(error) or type(error).__name__
        return self._unreachable(
            f"{self.source} at {self.base_url} cannot be reached: {what}",
            hint="is its socket up? systemctl list-sockets 'rbee-*'",
            details={"url": self.base_url, "refused": refused},
        )

    def _distrusted(self, error: Exception) -> RbeeError:
        """Return what is wrong between us and who answers there; nothing was sent to them."""
        cause = getattr(error, "certificate_error", None) or error.__cause__ or error
        said = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause)
        if said in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            said = "it speaks no TLS"
        return self._unreachable(
            f"{self.source} at {self.base_url} is not trusted: {said}",
            hint="set tls_ca to the PEM file of who signed its certificate, or correct the URL",
            details={"url": self.base_url, "trusted": False},
        )
