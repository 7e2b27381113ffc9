"""When is a worker idle enough to go? Its socket stays, and the next request brings it back."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Idleness:
    """Counts from the last use: a request that wanted the model, or the end of one."""

    limit_s: float
    used_s: float

    def use(self, now_s: float) -> None:
        self.used_s = now_s

    def wait_s(self, now_s: float, *, busy: bool) -> float:
        """Return how long to wait before asking again; 0 when it is time to go."""
        if busy:
            return self.limit_s
        return max(0.0, self.used_s + self.limit_s - now_s)
