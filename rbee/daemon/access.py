"""Who is calling, and may they? Decided from plain values; ``app`` asks and raises."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from rbee.errors import NotPermitted, Unauthorized

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
OPERATOR = ""
"""The caller who may do everything: has the fleet token, or is alone on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What is accepted.

    Args:
        tokens: fleet tokens, any of which is accepted; none means that nobody needs one.
        callers: name → ``sha256:<hex>`` of that caller's key.
        loopback: we listen on a loopback address only.
        origins: browsers' origins that may call (CORS).
    """

    tokens: tuple[str, ...] = ()
    callers: Mapping[str, str]
    loopback: bool = True
    origins: tuple[str, ...] = ()

    def caller(self, authorization: str | None, api_key: str | None = None) -> str:
        """Return who presents ``Authorization``: OPERATOR or a caller's name.

        Args:
            api_key: what stands in ``X-Api-Key``, where clients of Anthropic's put the same; it counts where there is
                no ``Authorization``.

        Raises:
            Unauthorized: none given where one is needed, or not one of ours.
        """
        if not self.tokens and not self.callers:
            return OPERATOR
        scheme, _, given = (authorization or f"Bearer {api_key or ''}").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            if self.open_to_all:
                return OPERATOR
            raise Unauthorized("no bearer token given", hint="send Authorization: Bearer <token>")
        return self._known(given)

    @property
    def open_to_all(self) -> bool:
        """Loopback without a fleet token: one person's machine. Named callers may still present their keys."""
        return self.loopback and not self.tokens

    def _known(self, given: str) -> str:
        """Compare with everything, always, so that time tells nothing."""
        data = given.encode("utf-8", "surrogateescape")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        found: str | None = None
        for token in self.tokens:
            if hmac.compare_digest(token.encode(), data):
                found = OPERATOR
        for name, expected in self.callers.items():
            if hmac.compare_digest(expected.encode(), digest.encode()) and found is None:
                found = name
        if found is None:
            raise Unauthorized(
                f"token {fingerprint(given)} is not known here",
                hint="ask whoever runs this fleet; a token file that has changed is read by systemctl reload",
            )
        return found

    def check_browser(self, host: str | None, origin: str | None) -> None:
        """Keep web pages from driving a daemon that asks no token (DNS rebinding, cross-site requests).

        Raises:
            NotPermitted: a foreign Origin; or, without a token, a Host that is no loopback name.
        """
        if origin is not None and origin not in self.origins and not _same(origin, host):
            raise NotPermitted(f"origin {origin[:100]!r} may not call this daemon", hint="list it in cors_origins")
        if self.open_to_all and host_name(host) not in LOOPBACK_NAMES:
            raise NotPermitted(
                f"Host is {(host or '')[:100]!r}, expected a loopback name while no token is configured",
                hint="call 127.0.0.1, or configure a token",
            )


def fingerprint(token: str) -> str:
    """Return what a log may show of a token: six hex digits of its sha256."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def host_name(host: str | None) -> str:
    """Return the name in a Host header, without its port."""
    text = (host or "").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _same(origin: str, host: str | None) -> bool:
    """A page served by this very daemon (scheme aside) is not foreign; one on another loopback port is."""
    return host is not None and origin.partition("://")[2].lower() == host.lower() and host_name(host) in LOOPBACK_NAMES
