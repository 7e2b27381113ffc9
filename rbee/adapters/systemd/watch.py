"""What a systemd manager announces, on a connection of its own: jobs that end, properties that change."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from rbee.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, Bus, unit_path
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
        self._heard: asyncio.Queue[Announcement] = asyncio.Queue()
        self._bus: Bus | None = None

    async def __aenter__(self) -> "Watch":
        bus = self._bus = await asyncio.to_thread(Bus, self._mode)
        try:
            for member in (JOB_REMOVED, UNIT_REMOVED):
                bus.on_signal(MANAGER_PATH, MANAGER, member, self._hear)
            for unit in self._units:
                bus.on_signal(unit_path(unit), PROPERTIES, CHANGED, self._hear)
            if self._within is not None:
                bus.on_signal(None, PROPERTIES, CHANGED, self._hear_within)
            bus.call(b"Subscribe")
        except BaseException:
            bus.close()
            raise
        asyncio.get_running_loop().add_reader(bus.fileno(), bus.process)
        bus.process()  # what came in with the answers above makes the descriptor readable no more
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bus is not None:
            asyncio.get_running_loop().remove_reader(self._bus.fileno())
            self._bus.close()

    def _hear(self, member: bytes, path: bytes, body: Any) -> None:
        self._heard.put_nowait((member, path, body))

    def _hear_within(self, member: bytes, path: bytes, body: Any) -> None:
        if self._within is not None and self._within in path:
            self._hear(member, path, body)

    async def announcements(self) -> AsyncIterator[Announcement]:
        """Yield what is announced, without end."""
        while True:
            yield await self._heard.get()

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
