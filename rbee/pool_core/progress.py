"""How fast bytes arrive, and when they will all be there."""

from collections import deque

from rbee.wire.catalog import DownloadEvent

WINDOW_S = 5.0
EVERY_S = 0.25


class Progress:
    """Turns byte counts into about four events a second; the rate is that of the last five seconds."""

    def __init__(self, total_bytes: int | None, done_bytes: int, now_s: float) -> None:
        self.total_bytes = total_bytes
        self._seen: deque[tuple[float, int]] = deque([(now_s, done_bytes)])
        self._due_s = now_s

    def due(self, done_bytes: int, now_s: float) -> bool:
        """Take note of ``done_bytes``; return whether it is time to tell."""
        if now_s - self._seen[-1][0] >= EVERY_S / 2:
            self._seen.append((now_s, done_bytes))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + EVERY_S
        return True

    def event(self, state: str, done_bytes: int, now_s: float) -> DownloadEvent:
        then_s, had_bytes = self._seen[0]
        elapsed_s = now_s - then_s
        rate = max(0, done_bytes - had_bytes) / elapsed_s if elapsed_s > 0 else None
        left = None if self.total_bytes is None else max(0, self.total_bytes - done_bytes)
        return DownloadEvent(
            state=state,
            bytes_done=done_bytes,
            bytes_total=self.total_bytes,
            rate_bytes_per_s=rate,
            eta_s=left / rate if rate and left is not None else None,
        )
