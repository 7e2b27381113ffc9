"""Time that nobody sets: it passes as time does, whatever becomes of the wall clock, also while no queen runs.

It reads like the wall clock of the day it began. Durations are taken from it, and so is how long something is kept.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A look at the machine's clocks. ``up_ms`` counts from its boot, sleep included; ``boot`` names it where known."""

    boot: str
    up_ms: int
    wall_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What steady time it was at ``seen``; kept, so that the next queen can go on from it."""

    seen: Reading
    steady_ms: int


def begun(now: Reading) -> Mark:
    """Return the first mark there is."""
    return Mark(seen=now, steady_ms=now.wall_ms)


def gone_on(mark: Mark, now: Reading) -> Mark:
    """Return ``mark`` as of now.

    Within a boot that is exact. Of a time without power only the wall clock knows; one that went back meanwhile is
    not believed.
    """
    seen = mark.seen
    same_boot = now.boot == seen.boot and now.up_ms >= seen.up_ms
    passed_ms = now.up_ms - seen.up_ms if same_boot else now.wall_ms - seen.wall_ms
    return Mark(seen=now, steady_ms=mark.steady_ms + max(0, passed_ms))
