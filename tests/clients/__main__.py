"""See ``tests.clients``."""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.clients.fleet import Place, fleet
from tests.clients.trials import NAMES, prepare, tried


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description="other people's clients at a queen")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--pretend", action="store_true", help="a FAKE worker, which calls tools and has vectors")
    parser.add_argument("--url", help="a queen that runs, http://…")
    parser.add_argument("--token-file", type=Path, help="what to present to her")
    parser.add_argument("--model", help="of hers")
    parser.add_argument("--embedder", help="a model of hers that has vectors", default="")
    given = parser.parse_args()
    unknown = sorted(set(given.clients) - set(NAMES))
    if unknown:
        parser.error(f"no trial of {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return asyncio.run(_run(given))


async def _run(given: argparse.Namespace) -> int:
    wanted = given.clients or NAMES
    await asyncio.to_thread(prepare, wanted)
    async with _place(given) as place:
        failed = [client for client in wanted if not await tried(client, place)]
    print(f"{len(wanted) - len(failed)} of {len(wanted)} clients went through", file=sys.stderr)
    return 1 if failed else 0


@contextlib.asynccontextmanager
async def _place(given: argparse.Namespace) -> AsyncIterator[Place]:
    if given.url:
        token = given.token_file.read_text().strip() if given.token_file else ""
        yield Place(url=given.url, token=token, model=given.model or "smollm2", embedder=given.embedder)
        return
    with tempfile.TemporaryDirectory() as folder:
        async with fleet(Path(folder), pretend=given.pretend) as place:
            yield place


if __name__ == "__main__":
    sys.exit(main())
