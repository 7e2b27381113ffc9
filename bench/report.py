"""What a bench found: a table that reads the same on a terminal and in docs/performance.md, and as json."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Cell: TypeAlias = float | int | str
_MISSED = "MISSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``ran`` says what was run, how often, against what."""

    name: str
    ran: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        shown = [self.columns, *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[n]) for row in shown) for n in range(len(self.columns))]
        lines = ["| " + " | ".join(_padded(row, widths, self.rows)) + " |" for row in shown]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([lines[0], rule, *lines[1:]])

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Table":
        """Return the table that ``plain`` made."""
        rows = plain["rows"]
        return cls(
            name=plain["name"], ran=plain["ran"], columns=tuple(rows[0]), rows=[tuple(row.values()) for row in rows]
        )

    def plain(self) -> dict[str, Any]:
        """Return it as json has it."""
        return {
            "name": self.name,
            "ran": self.ran,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
        }


def goal(value: float, most: float, unit: str = "ms") -> str:
    """Return a goal, and whether ``value`` meets it: nobody has to compare numbers, and nothing is passed over."""
    return f"at most {most:g} {unit}: {'met' if value <= most else _MISSED}"


def least(value: float, wanted: float, unit: str = "×") -> str:
    """The same for what may not be less."""
    return f"at least {wanted:g} {unit}: {'met' if value >= wanted else _MISSED}"


def missed(table: Table) -> bool:
    """Say whether a goal was."""
    return any(_MISSED in str(cell) for row in table.rows for cell in row)


def percentile(values: Sequence[float], share: float) -> float:
    """Return what ``share`` of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def program(doc: str | None, measure: Callable[..., Table | Coroutine[Any, Any, Table]], **options: Any) -> None:
    """Run one bench from the command line; ``options`` are its numbers and words, with their defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--json", metavar="FILE", help="write it there as json, too: python -m bench --put FILE")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"[{default}]")
    given = vars(parser.parse_args())
    form, file = given.pop("format"), given.pop("json")
    found = measure(**given)
    table = asyncio.run(found) if isinstance(found, Coroutine) else found
    if file:
        Path(file).write_text(json.dumps(table.plain(), indent=1) + "\n", encoding="utf-8")
    if form == "json":
        json.dump(table.plain(), sys.stdout, indent=1)
        print()
    else:
        print(f"{table.ran}\n\n{table.markdown()}")


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}" if abs(cell) < 100 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _padded(row: Sequence[str], widths: Sequence[int], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return cells as wide as their columns, numbers to the right."""
    numeric = [bool(rows) and all(isinstance(each[n], float | int) for each in rows) for n in range(len(widths))]
    return [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(row, widths, numeric, strict=True)
    ]
