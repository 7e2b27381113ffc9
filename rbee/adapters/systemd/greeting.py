"""What logind is asked, by a process of its own.

pystemd holds its whole interpreter while it waits for an answer, and a logind that hangs, or a polkit behind it, gives
none for 25 s a call: nobody would be answered meanwhile, and the watchdog take us for dead.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rbee.adapters import process
from rbee.adapters.systemd.bus import Bus, Peer
from rbee.errors import RbeeError, Timeout
from rbee.pool_core.unit import Mode

LOGIND = Peer(b"org.freedesktop.login1", b"/org/freedesktop/login1", b"org.freedesktop.login1.Manager")
ANSWER_S = 5.0

_LONGEST_BYTES = 4096


class Greeting(NamedTuple):
    """What it said.

    Args:
        locks: a descriptor for each kind of delay lock that we got; they are the caller's to close.
        trouble: why we got no other.
        delay_s: how long it waits at most for those who hold a lock; None: it does not say.
        coming: which of the properties that were asked for are true.
    """

    locks: Mapping[str, int]
    trouble: str | None
    delay_s: float | None
    coming: frozenset[str]


async def greet(kinds: Sequence[str], properties: Sequence[str]) -> Greeting:
    """Take a delay lock of each of ``kinds``, and ask whether each of ``properties`` is true.

    Raises:
        Timeout: it had not answered after ``ANSWER_S``.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setblocking(False)
        with theirs:
            asking = process.beside(__name__, json.dumps(kinds), json.dumps(properties), stdin=theirs.fileno())
        try:
            await _readable(ours)
        finally:
            await asyncio.to_thread(process.ended, asking, 0.1)
        said, descriptors, _, _ = socket.recv_fds(ours, _LONGEST_BYTES, len(kinds))  # after all that may be cancelled
    found: dict[str, Any] = json.loads(said or b"{}")
    return Greeting(
        locks=dict(zip(found.get("locks", ()), descriptors, strict=True)),
        trouble=found.get("trouble", None if found else "whoever was to ask logind has ended"),
        delay_s=found.get("delay_s"),
        coming=frozenset(found.get("coming", ())),
    )


async def _readable(there: socket.socket) -> None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(there, readable.set)
    try:
        async with asyncio.timeout(ANSWER_S):
            await readable.wait()
    except TimeoutError:
        raise Timeout(f"logind did not answer within {ANSWER_S:g} s", hint="systemctl status systemd-logind") from None
    finally:
        loop.remove_reader(there)


def _ask(kinds: Sequence[str], properties: Sequence[str]) -> tuple[dict[str, Any], list[int]]:
    """Return what logind says, and the descriptors of the locks."""
    found: dict[str, Any] = {"locks": [], "trouble": None, "delay_s": None, "coming": []}
    descriptors: list[int] = []
    try:
        with Bus(Mode.SYSTEM) as bus:
            for kind in kinds:
                try:
                    descriptors.append(_inhibit(bus, kind))
                    found["locks"].append(kind)
                except RbeeError as error:
                    found["trouble"] = error.message
            with contextlib.suppress(RbeeError):
                found["delay_s"] = bus.ask_property(LOGIND, b"InhibitDelayMaxUSec") / 1e6
                found["coming"] = [each for each in properties if bus.ask_property(LOGIND, each.encode())]
    except RbeeError as error:
        found["trouble"] = error.message
    return found, descriptors


def _inhibit(bus: Bus, kind: str) -> int:
    words = [kind.encode(), b"rbee", b"jobs go on at other pools", b"delay"]
    return bus.ask_descriptor(LOGIND, b"Inhibit", b"ssss", *words)


if __name__ == "__main__":
    said, locks = _ask(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
    with socket.socket(fileno=os.dup(0)) as there:
        socket.send_fds(there, [json.dumps(said).encode()], locks)
