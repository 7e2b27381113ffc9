"""logind, as far as it tells of the host's power: that it will be switched off, or sleep, and that it woke up.

We hold a delay lock for each, so that there is time before it happens; who gives theirs back says that it may. logind
asks polkit, which lets anybody have them, but only one of each kind: ``shutdown:sleep`` in one is another permission.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

from rbee import log
from rbee.adapters.systemd import greeting
from rbee.adapters.systemd.bus import Bus, Peer
from rbee.adapters.systemd.greeting import LOGIND, Greeting
from rbee.adapters.systemd.listening import listening
from rbee.errors import NoManager, Timeout
from rbee.pool_core.unit import Mode

Told: TypeAlias = tuple[bytes, Any]
"""A signal's name and what it says."""

DBUS = Peer(b"org.freedesktop.DBus", b"/org/freedesktop/DBus", b"org.freedesktop.DBus")
USUAL_DELAY_S = 5.0
GREET_AGAIN_S = 10.0
"""After it did not answer."""


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
_OVER = {Power.OFF: Power.STAYS_ON, Power.SLEEPS: Power.AWAKE}
_ASKED = {"PreparingForShutdown": Power.OFF, "PreparingForSleep": Power.SLEEPS}


class Logind:
    """Tells of the host's power while ``events`` runs. ``delay_s`` is how long logind waits for us at most."""

    def __init__(self) -> None:
        self.delay_s = USUAL_DELAY_S
        self._locks: dict[str, int] = {}
        self._trouble: str | None = None
        self._again_s: float | None = None
        self._begun: Power | None = None

    async def events(self) -> AsyncGenerator[Power, None]:
        """Yield what logind tells, from what it says already; a logind that is away is waited for.

        Raises:
            RbeeError: there is no bus, or it was lost.
        """
        heard: asyncio.Queue[Told | NoManager] = asyncio.Queue()
        bus = await asyncio.to_thread(Bus, Mode.SYSTEM)
        try:
            for member in (b"PrepareForShutdown", b"PrepareForSleep"):
                bus.on_signal(LOGIND.path, LOGIND.interface, member, _into(heard), sender=LOGIND.name)
            bus.on_signal(DBUS.path, DBUS.interface, b"NameOwnerChanged", _into(heard), sender=DBUS.name)
            with listening(bus, heard.put_nowait):
                async for power in self._told(heard):
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

    async def _told(self, heard: "asyncio.Queue[Told | NoManager]") -> AsyncGenerator[Power, None]:
        news = await self._greet()
        while True:
            for power in news:
                yield power
            news = await self._next(heard)

    async def _next(self, heard: "asyncio.Queue[Told | NoManager]") -> Sequence[Power]:
        """Return what the next that is heard means; of one that hangs, what it says when it is asked again."""
        try:
            async with asyncio.timeout_at(self._again_s):
                told = await heard.get()
        except TimeoutError:
            return await self._greet()
        match told:
            case NoManager():
                raise told
            case b"NameOwnerChanged", [LOGIND.name, _, owner]:
                self.release()  # the logind that gave them knows nothing of them any more
                return await self._greet() if owner else ()
            case (b"PrepareForShutdown" | b"PrepareForSleep") as member, bool() as begins:
                self._begun = _TOLD[member, True] if begins else None
                if not begins:
                    await self._greet()
                return (_TOLD[member, begins],)
        return ()

    async def _greet(self) -> Sequence[Power]:
        """Take what locks we lack, and return how things are; say once what stands against it, and when it is over."""
        trouble, found, self._again_s = None, None, None
        missing = [kind for kind in (_SHUTDOWN, _SLEEP) if kind not in self._locks]
        try:
            found = await greeting.greet(missing, tuple(_ASKED))
            self._locks.update(found.locks)
            trouble = found.trouble
        except Timeout as error:
            trouble, self._again_s = error.message, asyncio.get_running_loop().time() + GREET_AGAIN_S
        if trouble is not None and trouble != self._trouble:
            log.warning("logind.no_lock", reason=trouble)
        elif trouble is None and self._trouble is not None:
            log.event("logind.locked")
        self._trouble = trouble
        return self._news(found) if found is not None and found.delay_s is not None else ()

    def _news(self, found: Greeting) -> Sequence[Power]:
        """Return what has begun; or that what had begun is over, whose end we did not hear."""
        self.delay_s = found.delay_s or self.delay_s
        before, coming = self._begun, [power for name, power in _ASKED.items() if name in found.coming]
        self._begun = coming[0] if coming else None
        return coming or ([_OVER[before]] if before is not None else ())


def _into(heard: "asyncio.Queue[Told | NoManager]") -> Any:
    return lambda member, _, body: heard.put_nowait((member, body))
