"""The service side of systemd: sd_notify(3), the watchdog, and sockets handed over (sd_listen_fds(3))."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import sdnotify

from rbee.errors import ConfigInvalid

_FIRST_FD = 3


@dataclass(frozen=True, slots=True)
class Notifier:
    """Says what systemd wants to hear; silent where no systemd listens."""

    _speaker: Any
    watchdog_s: float | None = None
    """systemd kills the service after this long without a beat; None where no watchdog was asked for."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval = environ.get("WATCHDOG_USEC", "") if for_us else ""
        speaker = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        return cls(speaker, int(interval) / 1e6 if interval.isdigit() and int(interval) else None)

    def ready(self, status: str) -> None:
        self._say(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        self._say(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        self._say("WATCHDOG=1")

    def stopping(self, status: str = "stopping") -> None:
        self._say(f"STOPPING=1\nSTATUS={_line(status)}")

    def extend(self, seconds: float) -> None:
        """Ask for more time to start or stop."""
        self._say(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _say(self, state: str) -> None:
        if self._speaker is not None:
            self._speaker.notify(state)


def inherited_socket(environ: Mapping[str, str]) -> socket.socket | None:
    """Return the listening socket systemd passed to this very process, or None.

    Raises:
        ConfigInvalid: systemd passed several, or one that does not listen.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(environ.get("LISTEN_FDS", "0") or 0)
    if count == 0:
        return None
    if count > 1:
        raise ConfigInvalid(f"systemd passed {count} sockets, expected 1", hint="give the socket unit one Listen…=")
    sock = socket.socket(fileno=_FIRST_FD)
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigInvalid("the socket systemd passed does not listen", hint="the socket unit wants Accept=no")
    os.set_inheritable(_FIRST_FD, False)
    sock.setblocking(False)
    return sock


def bind_socket(address: str) -> socket.socket:
    """Return a listening socket on ``host:port``; ``[::1]:port`` for IPv6; port 0 lets the kernel choose.

    Raises:
        ConfigInvalid: no such address, or the port is taken.
    """
    host, port = split_address(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigInvalid(
            f"cannot listen on {address}: {error.strerror or error}", hint="choose another with --bind"
        ) from None
    sock.setblocking(False)
    return sock


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``.

    Raises:
        ConfigInvalid: there is no port, or it is not within 0..65535.
    """
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise ConfigInvalid(f"address is {address!r}, expected host:port")
    return host.strip("[]"), int(port)


def _line(text: str) -> str:
    return " ".join(text.split())
