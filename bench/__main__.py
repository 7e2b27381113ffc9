"""All benches but bench.fleet, one after the other; docs/performance.md gets their tables: python -m bench [NAME…]

Each runs in a process of its own. Let the machine be quiet: whatever else it does is measured as well.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bench.report import Table, missed

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
NAMES = ("scheduler", "overhead", "store", "watchers", "heartbeats")


def main() -> int:
    """Return 1 when a goal was missed: it is printed, and written down all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all of them")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the page as it is")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(NAMES))
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(NAMES)}")
    short = False
    for name in given.names or NAMES:
        table = run(name)
        print(f"## {name}\n\n{table.ran}\n\n{table.markdown()}\n", flush=True)
        short = short or missed(table)
        if not given.dry_run:
            PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
    return int(short)


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
    return f"{before}{begin}\n{table.ran}\n\n{table.markdown()}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
