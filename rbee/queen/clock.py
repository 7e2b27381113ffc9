"""Steady time as the queen has it: ``orchestrator_core.steady`` on the machine's clocks, kept in her store."""

from collections.abc import Callable

from rbee.adapters import clocks
from rbee.orchestrator_core.steady import Mark, Reading, begun, gone_on
from rbee.queen.store import clock
from rbee.queen.store.store import Store


def look() -> Reading:
    return Reading(boot=clocks.boot(), up_ms=clocks.up_ms(), wall_ms=clocks.wall_ms())


class Clock:
    """
    Args:
        look: reads the machine's clocks.
    """

    def __init__(self, look: Callable[[], Reading] = look) -> None:
        self._look = look
        self._mark = begun(look())

    async def start(self, store: Store) -> None:
        """Go on from where the queen before us was, before anything else is asked."""
        kept: Mark | None = await store.read(clock.load)
        self._mark = gone_on(kept, self._look()) if kept is not None else begun(self._look())

    async def keep(self, store: Store) -> None:
        """Write down how late it is; a loss of power then costs no more than what has passed since."""
        self._mark = gone_on(self._mark, self._look())
        await store.write(clock.save, self._mark)

    def now_ms(self) -> int:
        return gone_on(self._mark, self._look()).steady_ms

    def wall_ms(self) -> int:
        return self._look().wall_ms
