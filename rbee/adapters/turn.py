"""One sync of this pool at a time, whoever does it: the daemon, or root's own command."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from rbee.adapters.files import own_lock
from rbee.errors import Conflict

_OURS: dict[Path, asyncio.Lock] = {}
"""In this process, where the file would be held against ourselves: a reload makes another pool of the same host."""


class FileTurn:
    """``sync.lock`` in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._lock = state_dir / "sync.lock"

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock; a task of this process waits for another of it.

        Raises:
            Conflict: another process has it. NotPermitted: the state directory is not ours.
        """
        with contextlib.ExitStack() as stack:
            async with _OURS.setdefault(self._lock, asyncio.Lock()):
                try:
                    stack.enter_context(own_lock(self._lock, wait=False))
                except BlockingIOError:
                    raise Conflict(
                        "another command syncs this pool just now", hint="when it has ended: rbee-hive sync"
                    ) from None
                yield
