"""logind, as far as it tells of the host's power: that it will be switched off, or sleep, and that it woke up.

We hold a delay lock for each, so that there is time before it happens; who gives theirs back says that it may. logind
asks polkit, which lets anybody have them, but only one of each kind: ``shutdown:sleep`` in one is another permission.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from enum import StrEnum
from typing import Any

from rbee import log
from rbee.adapters.systemd.bus import Bus, Peer
from rbee.adapters.systemd.listening import listening
from rbee.errors import RbeeError
from rbee.pool_core.unit import Mode

LOGIND = Peer(b"org.freedesktop.login1", b"/org/freedesktop/login1", b"org.freedesktop.login1.Manager")
DBUS = Peer(b"org.freedesktop.DBus", b"/org/freedesktop/DBus", b"org.freedesktop.DBus")
USUAL_DELAY_S = 5.0


class Power(StrEnum):
    """What is about to happen, or has."""

    OFF = "off"
    STAYS_ON = "stays-on"
    SLEEPS = "sleeps"
    AWAKE = "awake"


_SHUTDOWN, _SLEEP = "shutdown", "sleep"
_TOLD = {
    (b"PrepareForShutdown", True): Power.OFF,
    (b"PrepareForShutdown", False): Power.STAYS_ON,
    (b"PrepareForSleep", True): Power.SLEEPS,
    (b"PrepareForSleep", False): Power.AWAKE,
}
_ASKED = ((b"PreparingForShutdown", Power.OFF), (b"PreparingForSleep", Power.SLEEPS))


class Logind:
    """Tells of the host's power while ``events`` runs. ``delay_s`` is how long logind waits for us at most."""

    def __init__(self) -> None:
        self.delay_s = USUAL_DELAY_S
        self._locks: dict[str, int] = {}
        self._trouble: str | None = None

    async def events(self) -> AsyncGenerator[Power, None]:
        """Yield what logind tells, from what it says already; a logind that is away is waited for.

        Raises:
            RbeeError: there is no bus, or it was lost.
        """
        heard: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        bus = await asyncio.to_thread(Bus, Mode.SYSTEM)
        try:
            for member in (b"PrepareForShutdown", b"PrepareForSleep"):
                bus.on_signal(LOGIND.path, LOGIND.interface, member, _into(heard), sender=LOGIND.name)
            bus.on_signal(DBUS.path, DBUS.interface, b"NameOwnerChanged", _into(heard), sender=DBUS.name)
            with listening(bus, lambda error: heard.put_nowait((b"", error))) as read:
                async for power in self._told(bus, heard, read):
                    yield power
        finally:
            self.release()
            bus.close()

    def release(self, *kinds: str) -> None:
        """Give the locks back, or those of ``kinds``: as far as we are concerned, it may happen."""
        for kind in kinds or tuple(self._locks):
            lock = self._locks.pop(kind, None)
            if lock is not None:
                os.close(lock)

    def go_ahead(self, power: Power) -> None:
        """Say that all is done before ``power``."""
        self.release(_SHUTDOWN if power is Power.OFF else _SLEEP)

    async def _told(
        self, bus: Bus, heard: "asyncio.Queue[tuple[bytes, Any]]", read: Callable[[], None]
    ) -> AsyncGenerator[Power, None]:
        for power in self._greet(bus):
            yield power
        while True:
            read()
            member, body = await heard.get()
            match member, body:
                case b"NameOwnerChanged", [LOGIND.name, _, owner]:
                    self.release()  # the logind that gave them knows nothing of them any more
                    for power in self._greet(bus) if owner else ():
                        yield power
                case b"", error:
                    raise error
                case ((b"PrepareForShutdown" | b"PrepareForSleep"), bool() as begins):
                    if not begins:
                        self._lock(bus)
                    yield _TOLD[member, begins]

    def _greet(self, bus: Bus) -> list[Power]:
        """Take the locks, and ask how things are."""
        self._lock(bus)
        with contextlib.suppress(RbeeError):
            self.delay_s = bus.ask_property(LOGIND, b"InhibitDelayMaxUSec") / 1e6
            return [power for name, power in _ASKED if bus.ask_property(LOGIND, name)]
        return []

    def _lock(self, bus: Bus) -> None:
        """Take what locks we do not have; say once what stands against it, and once that it is over."""
        trouble = None
        for kind in (_SHUTDOWN, _SLEEP):
            if kind not in self._locks:
                try:
                    self._locks[kind] = _inhibit(bus, kind)
                except RbeeError as error:
                    trouble = error.message
        if trouble is not None and trouble != self._trouble:
            log.warning("logind.no_lock", reason=trouble)
        elif trouble is None and self._trouble is not None:
            log.event("logind.locked")
        self._trouble = trouble


def _inhibit(bus: Bus, kind: str) -> int:
    words = [kind.encode(), b"rbee", b"jobs go on at other pools", b"delay"]
    return bus.ask_descriptor(LOGIND, b"Inhibit", b"ssss", *words)


def _into(heard: "asyncio.Queue[tuple[bytes, Any]]") -> Any:
    return lambda member, _, body: heard.put_nowait((member, body))
