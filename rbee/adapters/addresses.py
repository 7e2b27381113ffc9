"""Whose address a host name or an IP address is: this machine's, or another's."""

import ipaddress
import socket


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


def _resolved(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


def _can_bind(address: str) -> bool:
    """Ask the kernel: only what an interface here has can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
