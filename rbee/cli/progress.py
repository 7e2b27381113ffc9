"""How far something is: a bar that moves on a terminal, a line now and then elsewhere."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rbee.cli.output import Output
from rbee.cli.units import seconds_text
from rbee.wire.words import bytes_text

_WIDTH = 30
LINE_EVERY_S = 5.0
_CLEAR = "\r\x1b[K"
_UP = "\x1b[{}A"
_NARROW = 80

Bar: TypeAlias = Callable[[str, float | None, str], None]
"""Shows what is done, how far it is (0..1, or None), and a few facts."""


@dataclass(slots=True)
class Progress:
    """Shows one thing's progress; use it as a context so that a half-drawn bar never stays."""

    output: Output
    label: str = ""
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
            self.output.err.write(f"{self.label}{what}{percent} {facts}".rstrip() + "\n")
            self._said, self._said_at = what, time.monotonic()

    def clear(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self.output.err.write(_CLEAR)
            self.output.err.flush()
            self._drawn = False


class Bars:
    """One bar for each of several things, below each other; elsewhere than on a terminal a line now and then.

    What else is written while they are shown goes above them: ``output`` lifts them for it.
    """

    def __init__(self, output: Output, names: Sequence[str]) -> None:
        self._output = output
        self._width = max(map(len, names), default=0)
        self._lines: dict[str, str] = {}
        self._plain = {name: Progress(output, label=f"{name.ljust(self._width)}  ") for name in names}
        self._drawn = 0

    def __enter__(self) -> "Bars":
        self._output.above = self._lifted
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        self._output.above = contextlib.nullcontext

    def of(self, name: str) -> Bar:
        """Return the bar of one of them."""
        return lambda what, done, facts: self._show(name, what, done, facts)

    def end(self, name: str) -> None:
        """Take one of them away."""
        with self._lifted():
            self._lines.pop(name, None)

    def _show(self, name: str, what: str, done: float | None, facts: str) -> None:
        if self._output.interactive:
            with self._lifted():
                self._lines[name] = f"{name.ljust(self._width)}  {_line(what, done, facts)}"
        else:
            self._plain[name].show(what, done, facts)

    @contextlib.contextmanager
    def _lifted(self) -> Iterator[None]:
        self._clear()
        yield
        if self._output.interactive:
            columns = _columns()
            for line in self._lines.values():
                self._output.err.write(line[: columns - 1] + "\n")
            self._drawn = len(self._lines)
            self._output.err.flush()

    def _clear(self) -> None:
        if self._drawn:
            self._output.err.write(_UP.format(self._drawn) + "\x1b[J")
            self._output.err.flush()
            self._drawn = 0


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns or _NARROW
    except OSError:
        return _NARROW


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
