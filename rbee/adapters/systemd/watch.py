"""What a systemd manager announces, on a connection of its own: jobs that end, properties that change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from rbee.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, Bus, unit_path
from rbee.adapters.systemd.listening import listening
from rbee.errors import NoManager
from rbee.pool_core.unit import Mode

Announcement = tuple[bytes, bytes, Any]  # member, path, body
JOB_REMOVED, UNIT_REMOVED, CHANGED = b"JobRemoved", b"UnitRemoved", b"PropertiesChanged"


class Watch:
    """Listens from ``async with`` on, so nothing that follows from a call made inside it can be missed.

    Args:
        units: whose properties are followed.
        within: follow those of all units whose object path has this in it.
    """

    def __init__(self, mode: Mode, *units: str, within: bytes | None = None) -> None:
        self._mode, self._units, self._within = mode, units, within
        self._heard: asyncio.Queue[Announcement | NoManager] = asyncio.Queue()
        self._open = contextlib.ExitStack()

    async def __aenter__(self) -> "Watch":
        bus = await asyncio.to_thread(Bus, self._mode)
        with contextlib.ExitStack() as opened:
            opened.enter_context(bus)
            for member in (JOB_REMOVED, UNIT_REMOVED):
                bus.on_signal(MANAGER_PATH, MANAGER, member, self._hear)
            for unit in self._units:
                bus.on_signal(unit_path(unit), PROPERTIES, CHANGED, self._hear)
            if self._within is not None:
                bus.on_signal(None, PROPERTIES, CHANGED, self._hear_within)
            bus.call(b"Subscribe")
            opened.enter_context(listening(bus, self._heard.put_nowait))
            self._open = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _hear(self, member: bytes, path: bytes, body: Any) -> None:
        self._heard.put_nowait((member, path, body))

    def _hear_within(self, member: bytes, path: bytes, body: Any) -> None:
        if self._within is not None and self._within in path:
            self._hear(member, path, body)

    async def announcements(self) -> AsyncIterator[Announcement]:
        """Yield what is announced, without end.

        Raises:
            NoManager: the bus was lost, and with it what was announced since.
        """
        while True:
            heard = await self._heard.get()
            if isinstance(heard, NoManager):
                raise heard
            yield heard

    async def jobs(self, *jobs: bytes) -> dict[bytes, str]:
        """Wait until all ``jobs`` are over; return the result of each: done, failed, canceled, timeout, …"""
        results: dict[bytes, str] = {}
        async for member, _, body in self.announcements():
            if member == JOB_REMOVED and body[1] in jobs:
                results[body[1]] = body[3].decode()
            if len(results) == len(set(jobs)):
                break
        return results

    async def removal(self, *units: str) -> None:
        """Wait until systemd has forgotten all ``units``."""
        left = {unit.encode() for unit in units}
        async for member, _, body in self.announcements():
            if member == UNIT_REMOVED:
                left.discard(body[0])
            if not left:
                break
