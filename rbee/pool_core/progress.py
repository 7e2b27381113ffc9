"""How fast bytes arrive, and when they will all be there."""

from collections import deque

from rbee.wire.catalog import DownloadEvent

WINDOW_S = 5.0
EVERY_S = 0.25


class Progress:
    """Turns byte counts into events; asked about every ``EVERY_S``, its rate is that of the last five seconds."""

    def __init__(self, total_bytes: int | None) -> None:
        self.total_bytes = total_bytes
        self._state = ""
        self._seen: deque[tuple[float, int]] = deque()

    def event(self, state: str, done_bytes: int, now_s: float) -> DownloadEvent:
        """Return what to tell now. A rate of 0 is a stall; without a rate there is no ETA."""
        if state != self._state or done_bytes < self._seen[-1][1]:  # hashing is no measure of the network
            self._state = state
            self._seen.clear()
        rate = self._rate(done_bytes, now_s)
        left = None if self.total_bytes is None else max(0, self.total_bytes - done_bytes)
        return DownloadEvent(
            state=state,
            bytes_done=done_bytes,
            bytes_total=self.total_bytes,
            rate_bytes_per_s=rate,
            eta_s=left / rate if rate and left is not None else None,
        )

    def _rate(self, done_bytes: int, now_s: float) -> float | None:
        self._seen.append((now_s, done_bytes))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        then_s, had_bytes = self._seen[0]
        return (done_bytes - had_bytes) / (now_s - then_s) if now_s > then_s else None
