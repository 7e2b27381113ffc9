"""Lines whose answer is over, kept for the next question to the same address: to connect takes longer than to ask."""

from rbee.client.line import Line


class Lines:
    """One for all clients of a daemon."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Line]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def ask(self, url: str, request: bytes) -> Line | None:
        """Send ``request`` over a line to ``url`` that was kept, the one used last; None: there is none."""
        idle = self._idle.get(url)
        if not idle:
            return None
        line = idle.pop()
        self._tidy(url)
        line.ask(request)
        return line

    def has(self, url: str) -> bool:
        return url in self._idle

    def keep(self, url: str, line: Line) -> None:
        """Have ``line`` once it has nothing to say any more."""
        line.rest(lambda: self._idle.setdefault(url, []).append(line), lambda: self._lost(url, line))

    def close(self) -> None:
        for line in [line for idle in self._idle.values() for line in idle]:
            line.close()

    def _lost(self, url: str, line: Line) -> None:
        self._idle[url].remove(line)
        self._tidy(url)

    def _tidy(self, url: str) -> None:
        if not self._idle[url]:
            del self._idle[url]
