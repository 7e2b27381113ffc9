"""What workers were seen to take, in a file of the state directory; daemon and direct commands share it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from rbee import log
from rbee.adapters.files import own_lock, permitted, write_whole
from rbee.errors import RbeeError
from rbee.pool_core.ports import Measured
from rbee.wire import codec

MOST = 500
"""Kinds of workers remembered; the oldest are forgotten."""


class FileLedgerBook:
    """``measured.json``, and a lock beside it for whoever promises memory.

    A book that cannot be read is an empty one: it only makes predictions worse, and is written anew.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "measured.json"
        self._lock = state_dir / "ledger.lock"

    async def known(self) -> Mapping[str, Measured]:
        return await asyncio.to_thread(self._read)

    async def note(self, seen: Mapping[str, Measured]) -> None:
        await asyncio.to_thread(self._write, seen)

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock; another process or task that wants it waits. Raises NotPermitted."""
        with contextlib.ExitStack() as stack:
            await asyncio.to_thread(self._acquire, stack)
            yield

    def _acquire(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(own_lock(self._lock, wait=True))

    def _read(self) -> dict[str, Measured]:
        try:
            rows = json.loads(self._file.read_bytes())
            return {kind: codec.from_dict(Measured, row, lenient=True) for kind, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, RbeeError) as error:
            log.warning("ledger.unreadable", path=self._file, error=str(error))
            return {}

    def _write(self, seen: Mapping[str, Measured]) -> None:
        """What cannot be written is measured again; a full disk or a foreign owner must not stop a pool."""
        kept = {kind: each for kind, each in self._read().items() if kind not in seen} | dict(seen)
        newest = dict(list(kept.items())[-MOST:])
        try:
            with permitted(self._file):
                write_whole(self._file, json.dumps(codec.plain(newest), indent=1).encode())
        except (OSError, RbeeError) as error:
            log.warning("ledger.not_written", path=self._file, error=str(error))
