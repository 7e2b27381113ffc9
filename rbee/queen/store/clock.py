"""What steady time it was when the queen last looked."""

from rbee.orchestrator_core.steady import Mark, Reading
from rbee.queen.store.models import Clock

_ONLY = 1


def load() -> Mark | None:
    row = Clock.get_or_none(Clock.id == _ONLY)
    if row is None:
        return None
    return Mark(seen=Reading(boot=row.boot, up_ms=row.up_ms, wall_ms=row.wall_ms), steady_ms=row.steady_ms)


def save(mark: Mark) -> None:
    seen = mark.seen
    facts = {"boot": seen.boot, "up_ms": seen.up_ms, "wall_ms": seen.wall_ms, "steady_ms": mark.steady_ms}
    Clock.insert(id=_ONLY, **facts).on_conflict(conflict_target=[Clock.id], update=facts).execute()
