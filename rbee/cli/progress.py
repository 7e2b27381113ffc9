"""How far something is: a bar that moves on a terminal, a line now and then elsewhere."""

import time
from dataclasses import dataclass, field

from rbee.cli.output import Output
from rbee.cli.units import bytes_text, seconds_text

_WIDTH = 30
LINE_EVERY_S = 5.0
_CLEAR = "\r\x1b[K"


@dataclass(slots=True)
class Progress:
    """Shows one thing's progress; use it as a context so that a half-drawn bar never stays."""

    output: Output
    _drawn: bool = False
    _said_at: float = field(default=float("-inf"))
    _said: str = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, what: str, done: float | None, facts: str = "") -> None:
        """Show ``what`` at ``done``, 0..1 or None where nobody knows."""
        if self.output.as_json:
            return
        if self.output.interactive:
            self.output.err.write(_CLEAR + _line(what, done, facts))
            self.output.err.flush()
            self._drawn = True
        elif what != self._said or time.monotonic() - self._said_at >= LINE_EVERY_S:
            percent = "" if done is None else f" {done:.0%}"
            self.output.err.write(f"{what}{percent} {facts}".rstrip() + "\n")
            self._said, self._said_at = what, time.monotonic()

    def clear(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self.output.err.write(_CLEAR)
            self.output.err.flush()
            self._drawn = False


def download_facts(done: int, total: int | None, rate: float | None, eta_s: float | None) -> str:
    """Return ``12.0 MiB of 93.8 MiB, 4.1 MiB/s, 20 s left``."""
    parts = [bytes_text(done) if total is None else f"{bytes_text(done)} of {bytes_text(total)}"]
    if rate:
        parts.append(f"{bytes_text(rate)}/s")
    if eta_s is not None:
        parts.append(f"{seconds_text(eta_s)} left")
    return ", ".join(parts)


def _line(what: str, done: float | None, facts: str) -> str:
    if done is None:
        return f"{what} … {facts}"
    share = min(max(done, 0.0), 1.0)
    full = round(_WIDTH * share)
    return f"{what} [{'█' * full}{'·' * (_WIDTH - full)}] {share:4.0%} {facts}"
