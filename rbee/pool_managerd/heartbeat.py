"""Tell the queen all we know, every few seconds and whenever something changed. Never gives up, never shouts twice."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from rbee import log
from rbee.errors import RbeeError
from rbee.wire.pools import PoolSnapshot

LONGEST_PAUSE_S = 30.0
STUCK_S = 60.0
TELL_S = 5.0
"""How long a change waits to be heard: enough for systemd to start a queen."""

Send = Callable[[PoolSnapshot], Awaitable[None]]
Look = Callable[[], Awaitable[PoolSnapshot]]


class Heartbeat:
    """Sends whole snapshots; one that is lost costs nothing.

    Args:
        look: gives the snapshot as it is now, worker secrets included.
        send: gives it to the queen; may raise RbeeError.
        interval_s: between two when nothing happens; longer while the queen is away.
    """

    def __init__(self, look: Look, send: Send, *, interval_s: float) -> None:
        self._look, self._send = look, send
        self.interval_s = interval_s
        self._changed = asyncio.Event()
        self._begun, self._ended, self._end = 0, 0, asyncio.Condition()
        self._pause_s = interval_s
        self.trouble: str | None = "queen not asked yet"
        """Why the queen does not know us, as a clause; None while she does."""
        self.last: PoolSnapshot | None = None
        self._busy_since_s: float | None = None

    def changed(self) -> None:
        """Say that the next snapshot should not wait."""
        self._changed.set()

    async def tell(self, within_s: float = TELL_S) -> None:
        """Say that something changed, and return when the queen has heard it: who did it can then ask her about it.

        While she is away nobody waits for her, and for one that is slow not longer than ``within_s``.
        """
        wanted = self._begun + 1  # one under way may have looked before the change
        self.changed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._end:
                await self._end.wait_for(lambda: self._ended >= wanted or self._away)

    def standstill(self) -> str | None:
        """Return what hangs, for the watchdog: a beat has deadlines of its own and never takes this long."""
        since = self._busy_since_s
        if since is None or time.monotonic() - since < STUCK_S:
            return None
        return f"a heartbeat has taken {time.monotonic() - since:.0f} s"

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._changed.clear()
            self._busy_since_s = time.monotonic()
            self._begun += 1
            await self._beat()
            self._busy_since_s = None
            async with self._end:
                self._ended = self._begun
                self._end.notify_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s):
                    await self._changed.wait()

    async def _beat(self) -> None:
        """Look, then send. No failure of either ends the heartbeat, not even a bug: it is all the queen knows of us."""
        try:
            self.last = await self._look()
        except Exception as error:  # noqa: BLE001
            self._failed(_known(error), "this host: ")
            return
        try:
            await self._send(self.last)
        except Exception as error:  # noqa: BLE001
            self._failed(_known(error), "queen: ")
            return
        if self.trouble is not None:
            log.event("queen.reached")
        self.trouble, self._pause_s = None, self.interval_s

    @property
    def _away(self) -> bool:
        return self._ended > 0 and self.trouble is not None

    def _failed(self, error: RbeeError, where: str) -> None:
        """Log the first failure of a kind, and ask less often while it lasts: a queen that is away is no emergency."""
        trouble = error.message if error.message.startswith("queen ") else where + error.message
        if self.trouble != trouble:
            log.warning("heartbeat.failed", code=error.code, error=trouble, hint=error.hint or None)
        self.trouble = trouble
        self._pause_s = min(self._pause_s * 2, max(LONGEST_PAUSE_S, self.interval_s))


def _known(error: Exception) -> RbeeError:
    return error if isinstance(error, RbeeError) else RbeeError(repr(error))
