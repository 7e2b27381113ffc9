"""All benches but bench.fleet, one after the other; docs/performance.md gets their tables: python -m bench [NAME…]

Each runs in a process of its own. Let the machine be quiet: whatever else it does is measured as well.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.comparison import bars
from bench.report import Table, missed

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
NAMES = ("scheduler", "overhead", "store", "watchers", "heartbeats", "engine", "bits", "wake", "imports")
ELSEWHERE = ("engine-cuda", "engine-cuda-8b")
"""Tables that the page has from other machines."""


def main() -> int:
    """Return 1 when a goal was missed: it is printed, and written down all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all of them")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the page as it is")
    parser.add_argument("--put", metavar="FILE", action="append", default=[], help="what a bench wrote with --json")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(NAMES))
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(NAMES)}")
    short = False
    for table in tables(given.names, given.put):
        print(f"## {table.name}\n\n{table.ran}\n\n{table.markdown()}\n", flush=True)
        short = short or missed(table)
        if not given.dry_run:
            PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
            if drawn := bars(table):
                picture(table).write_text(drawn.svg(), encoding="utf-8")
    return int(short)


def tables(names: Sequence[str], files: Sequence[str]) -> Iterator[Table]:
    """Yield what was measured elsewhere and kept in ``files``; without any, what is measured now."""
    for file in files:
        yield Table.of(json.loads(Path(file).read_text(encoding="utf-8")))
    for name in names or ([] if files else NAMES):
        yield run(name)


def run(name: str) -> Table:
    """Return what ``bench.NAME`` found."""
    argv = [sys.executable, "-m", f"bench.{name}", "--format=json"]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Table.of(json.loads(done.stdout))


def put(page: str, table: Table) -> str:
    """Return ``page`` with what it says of this bench replaced; raises ValueError where it has no place for it."""
    begin, end = f"<!-- bench.{table.name} -->", f"<!-- end of bench.{table.name} -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{PAGE.name} has no {begin} … {end}")
    shown = f"{table.ran}\n\n{table.markdown()}\n"
    if drawn := bars(table):
        shown += f"\n![{drawn.title}]({picture(table).name})\n"
    return f"{before}{begin}\n{shown}{end}{after}"


def picture(table: Table) -> Path:
    """Return where the picture of a table lies."""
    return PAGE.with_name(f"{PAGE.stem}-{table.name}.svg")


if __name__ == "__main__":
    sys.exit(main())
