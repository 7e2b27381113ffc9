"""Whose address a host name or an IP address is: this machine's, or another's."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterable


def only_here(host: str) -> bool:
    """Return whether ``host`` means this machine to everybody who says it: loopback, or no address in particular."""
    if host == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


def is_own(host: str) -> bool:
    """Return whether ``host`` leads to this machine, by whatever name. One that cannot be resolved does not."""
    return any(only_here(address) or _can_bind(address) for address in _resolved(host))


def leads_here_only(host: str) -> bool:
    """Return whether ``host`` is resolved to loopback here, as Debian has it for a host's own name."""
    return any(only_here(address) for address in _resolved(host))


def same_machine(one: str, other: str) -> bool:
    """Return whether two names lead to a common address."""
    return one == other or bool(_resolved(one) & _resolved(other))


def address_towards(hosts: Iterable[str]) -> str | None:
    """Return the address by which the first of ``hosts`` that can be reached would see this machine; nothing is sent.

    The last resort is whoever is behind the default route. None: there is no network.
    """
    for host in (*hosts, "192.0.2.1", "2001:db8::1"):  # the last two are nobody's: RFC 5737, RFC 3849
        for address in _resolved(host):
            with contextlib.suppress(OSError), socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                own = str(probe.getsockname()[0])
                if not only_here(own):
                    return own
    return None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _resolved(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


def _can_bind(address: str) -> bool:
    """Ask the kernel: only what an interface here has can be bound."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
