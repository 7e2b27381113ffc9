"""One daemon at one URL, and what its answers mean: error envelopes arrive as the class they left as."""

import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from rbee import __version__
from rbee.errors import InvalidRequest, PoolUnreachable, RbeeError, Timeout, VersionMismatch
from rbee.wire import codec
from rbee.wire.envelope import from_envelope, is_envelope
from rbee.wire.version import same_line

if TYPE_CHECKING:
    from rbee.wire.sse import Frame

CONNECT_S = 3.0
_CUT = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)

Params = Mapping[str, str | int | float | None]


class NotHttp(Exception):
    """What came back is no HTTP."""


class Transport(Protocol):
    """What the clients of queen, pool and worker send their operations through."""

    @property
    def source(self) -> str:
        """What to call the other side in errors."""

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

    def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "AsyncIterator[Frame]":
        """Yield the events of an SSE answer; closing the iterator closes the connection.

        Raises:
            RbeeError: as ``call``; also when the stream is cut, whoever cut it.
        """

    def broken(self, problem: str) -> RbeeError:
        """Return the error that says of an answer that rbee gives no such one."""

    async def close(self) -> None:
        """Let go of connections that are kept."""


class Endpoint:
    """One daemon at ``base_url``.

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

    async def close(self) -> None:
        """Let go of connections that are kept."""

    def _answer(self, data: bytes, status: int, version: str) -> Any:
        """Return what was answered, or raise what was refused.

        Args:
            version: what the answer's ``HEADER`` says the other side is; empty where it says nothing.
        """
        self._check_version(version)
        if status // 100 != 2:
            raise self._refused(data, status)
        try:
            return codec.parse_json(data) if data else None
        except InvalidRequest as error:
            raise self.broken(error.message) from None

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
        except InvalidRequest:
            body = None
        if not is_envelope(body):
            return self.broken(f"HTTP {status}")
        return from_envelope(body, status=status, source=self.source)

    def broken(self, problem: str) -> RbeeError:
        """Return the error that says of an answer that rbee gives no such one: something else listens there."""
        return self._unreachable(
            f"{self.source} at {self.base_url} answered what is no answer of rbee ({problem})",
            hint=f"is it rbee that listens there? curl -si {self.base_url}/health",
            details={"url": self.base_url, "sent": True},
        )

    def _late(self, limit_s: float) -> RbeeError:
        return Timeout(f"{self.source} did not answer within {limit_s:g} s", details={"url": self.base_url})

    def _unanswered(self, limit_s: float) -> RbeeError:
        """Return that nothing came back, not even a refusal: a host that is off, or a firewall that drops."""
        return self._away(TimeoutError(f"no answer within {limit_s:g} s"))

    def _away(self, error: Exception) -> RbeeError:
        """Return that there was no answer, and why, in the same words whichever library found it out."""
        host = urlsplit(self.base_url).hostname or self.base_url
        code = getattr(error, "errno", None)
        sent = {"sent": True} if code in _CUT or isinstance(error, EOFError | NotHttp) else {}
        hint = "is its socket up? systemctl list-sockets 'rbee-*'"
        if isinstance(error, socket.gaierror | UnicodeError):  # UnicodeError: no DNS name can be like that
            what, hint = f"no address of {host} is known here", f"getent hosts {host}"
        elif code == errno.ECONNREFUSED:
            what = "nothing listens there"
        elif code in _CUT or isinstance(error, EOFError):
            what = "it hung up before its answer was whole"
        elif isinstance(error, NotHttp):
            what, hint = "what listens there speaks no HTTP", f"is the port right? curl -si {self.base_url}/health"
        elif isinstance(error, OSError):
            what = os.strerror(code).lower() if code else str(error) or type(error).__name__
            hint = f"is it on, and on this network? ping {host}"
        else:
            what, hint = "that is no address", "expected http://HOST:PORT, with a port up to 65535"
        return self._unreachable(
            f"{self.source} at {self.base_url} cannot be reached: {what}",
            hint=hint,
            details={"url": self.base_url, "refused": code == errno.ECONNREFUSED, **sent},
        )

    def _distrusted(self, cause: BaseException) -> RbeeError:
        """Return what is wrong between us and who answers there; nothing was sent to them."""
        said = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause)
        if said in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            said = "it speaks no TLS"
        return self._unreachable(
            f"{self.source} at {self.base_url} is not trusted: {said}",
            hint="set tls_ca to the PEM file of who signed its certificate, or correct the URL",
            details={"url": self.base_url, "trusted": False},
        )


def part(name: str) -> str:
    """Return ``name`` as one part of a path.

    Raises:
        InvalidRequest: it would change which path that is.
    """
    if name in ("", ".", "..") or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InvalidRequest(f"name is {name!r}, expected one that somebody can have")
    return quote(name, safe="")


def texts(params: Params | None) -> dict[str, str]:
    """Return the parameters that are given, as they stand in a URL."""
    return {key: str(value) for key, value in (params or {}).items() if value is not None}
