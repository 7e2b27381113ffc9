"""What a command shows. Results go to standard output, talk to standard error."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TextIO

from rbee.cli.streams import Results, harmless
from rbee.errors import RbeeError
from rbee.wire import codec
from rbee.wire.envelope import to_envelope

_DIM, _BOLD, _RED, _GREEN, _YELLOW, _END = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_STATES = {
    "ready": _GREEN,
    "busy": _GREEN,
    "completed": _GREEN,
    "running": _GREEN,
    "failed": _RED,
    "lost": _RED,
    "asleep": _DIM,
    "cancelled": _DIM,
    "starting": _YELLOW,
    "queued": _YELLOW,
    "draining": _YELLOW,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading, the field it shows, and how."""

    heading: str
    field: str
    shown: Any = str
    right: bool = False


@dataclass(slots=True, kw_only=True)
class Output:
    """Where a command writes.

    Args:
        as_json: one document on standard output, no text.
        colour: only ever true on a terminal.
    """

    as_json: bool = False
    colour: bool = False
    out: Results | TextIO
    err: TextIO
    above: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered around what is written while something moves below it."""

    @classmethod
    def for_terminal(cls, results: Results, *, as_json: bool, no_color: bool) -> "Output":
        plain = no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(as_json=as_json, colour=results.isatty() and not plain, out=results, err=sys.stderr)

    @property
    def interactive(self) -> bool:
        """Somebody watches standard error, so a bar may move there."""
        return self.err.isatty() and not self.as_json

    @property
    def width(self) -> int:
        """Columns of the terminal that results go to; without one there is room for everything."""
        return shutil.get_terminal_size().columns if self.out.isatty() else sys.maxsize

    def table(self, rows: Sequence[Any], columns: Sequence[Column], *, none: str) -> None:
        """Show rows of wire types as an aligned table; ``none`` is said when there are none."""
        if self.as_json:
            self._document(codec.plain(rows))
        elif not rows:
            self.say(none)
        else:
            self.out.write(self._aligned([codec.plain(row) for row in rows], columns))

    def facts(self, value: Any, shown: Mapping[str, Any]) -> None:
        """Show one thing: in JSON all of it, as text the facts in ``shown``; None is left out."""
        if self.as_json:
            self._document(codec.plain(value))
            return
        known = {key: harmless(str(fact)) for key, fact in shown.items() if fact not in (None, "")}
        width = max(map(len, known), default=0)
        for key, fact in known.items():
            indented = fact.replace("\n", "\n" + " " * (width + 2))
            self.out.write(f"{self._painted(key.ljust(width), _DIM)}  {self._state(indented)}\n")

    def event(self, value: Any) -> None:
        """Show one of several things as it comes: a line of JSON."""
        self.out.write(codec.dump_json(value) + "\n")
        self.out.flush()

    def done(self, sentence: str, **facts: Any) -> None:
        """Show that something without a result was done."""
        if self.as_json:
            self._document({"done": sentence, **facts})
        else:
            self.out.write(f"{sentence}\n")

    def text(self, piece: str) -> None:
        """Write a piece of a longer text as it comes; a terminal is spared what it would obey."""
        self.out.write(harmless(piece) if self.out.isatty() else piece)
        self.out.flush()

    def say(self, sentence: str) -> None:
        """Talk: to standard error, and not at all where JSON was asked for."""
        if not self.as_json:
            self.err.write(f"{harmless(sentence) if self.err.isatty() else sentence}\n")

    def failure(self, program: str, error: RbeeError) -> None:
        """Say what went wrong and what to do; as JSON, the envelope on one line."""
        if self.as_json:
            self.err.write(codec.dump_json(to_envelope(error, source=program)) + "\n")
            return
        where = f" ({error.source})" if error.source and error.source != program else ""
        label = self._painted(f"{program}:", _BOLD)
        self.err.write(f"{label} {harmless(error.message)}{where}\n")
        for entry in error.details.get("fields", ())[1:]:
            if entry["problem"] not in error.message:
                self.err.write(f"  {entry['field']}: {harmless(entry['problem'])}\n")
        for line in error.details.get("log", ()):
            self.err.write(f"  | {harmless(line)}\n")
        if error.hint:
            self.err.write(f"{self._painted('hint:', _DIM)} {harmless(error.hint)}\n")

    def _document(self, value: Any) -> None:
        self.out.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def _aligned(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
        cells = [[_cell(row.get(column.field), column) for column in columns] for row in rows]
        widths = [max(len(column.heading), *(len(line[n]) for line in cells)) for n, column in enumerate(columns)]
        heading = _padded([column.heading for column in columns], widths, columns)
        lines = [self._painted("  ".join(heading).rstrip(), _DIM)]
        for line in cells:
            padded = _padded(line, widths, columns)
            shown = [self._state(cell) if c.field == "state" else cell for cell, c in zip(padded, columns, strict=True)]
            lines.append("  ".join(shown).rstrip())
        return "\n".join(lines) + "\n"

    def _state(self, padded: str) -> str:
        word = padded.strip()
        return padded.replace(word, self._painted(word, _STATES[word])) if word in _STATES else padded

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_END}" if self.colour else text


def _cell(value: Any, column: Column) -> str:
    return "–" if value is None or value == "" else harmless(str(column.shown(value)))


def _padded(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    return [
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
