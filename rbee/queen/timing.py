"""How long jobs of a model took lately, to say when one that waits may start."""

from collections import defaultdict, deque

_REMEMBERED = 20


class Timing:
    def __init__(self) -> None:
        self._ran_ms: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def note(self, model: str, ran_ms: float) -> None:
        self._ran_ms[model].append(ran_ms)

    def usual_ms(self, model: str) -> float | None:
        """Return the mean of the last jobs; None where there was none."""
        known = self._ran_ms.get(model)
        return sum(known) / len(known) if known else None

    def start_ms(self, model: str, ahead: int, slots: int) -> int | None:
        """Return when a job may start that has ``ahead`` others of its model before it; None where nothing is known.

        All slots are taken to be halfway through a job of the usual length.
        """
        usual = self.usual_ms(model)
        return None if usual is None else int(usual * (ahead + 0.5) / max(1, slots))
