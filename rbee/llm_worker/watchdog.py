"""Does the worker make progress? Decided from plain values; ``daemon.serve`` feeds systemd by the answer."""

from collections.abc import Sequence

from rbee.llm_worker.engine import SlotActivity


def standstill(slots: Sequence[SlotActivity], *, now_s: float, limit_s: float) -> str | None:
    """Return what has stood still for longer than ``limit_s``, None while all is well.

    A slot without work, or one that waits for a slow reader, may stand still as long as it likes.
    """
    for slot in slots:
        stood_s = now_s - slot.progress_s
        if slot.busy and not slot.paused and stood_s > limit_s:
            return f"slot {slot.number} has made no progress for {limit_s:g} s"
    return None


def patience_s(watchdog_s: float | None) -> float:
    """Return how long a slot may stand still before the beats stop.

    systemd kills ``watchdog_s`` after the last beat, so a hung slot dies one and a half intervals after it hung,
    and a step that takes one whole interval is still forgiven.
    """
    return (watchdog_s or 60.0) / 2
