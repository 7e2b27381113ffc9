"""A process that downloads, to be killed: python -m tests.unit.adapters.hub_download FOLDER URL REFERENCE

Prints a line for each event.
"""

import asyncio
import sys
from pathlib import Path

from tests.unit.adapters.downloading import store_at


async def main(folder: str, url: str, reference: str) -> None:
    async for event in store_at(Path(folder), url, stall_s=60.0).download(reference):
        print(event.state, event.bytes_done, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
