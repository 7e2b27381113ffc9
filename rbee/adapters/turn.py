"""One sync of this pool at a time, whoever does it: the daemon, or root's own command."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from rbee.adapters.files import own_lock


class FileTurn:
    """``sync.lock`` in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._lock = state_dir / "sync.lock"

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock; whoever else wants it, here or in another process, waits. Raises NotPermitted."""
        with await self._acquired():
            yield

    async def _acquired(self) -> contextlib.ExitStack:
        """Return what lets go of the lock.

        It may take another's whole sync to come: nobody who ends may have to wait for that, so the thread is none of
        the loop's.
        """
        loop = asyncio.get_running_loop()
        held: asyncio.Future[contextlib.ExitStack] = loop.create_future()

        def give(stack: contextlib.ExitStack, error: BaseException | None) -> None:
            if held.done():
                stack.close()
            elif error is not None:
                held.set_exception(error)
            else:
                held.set_result(stack)

        def wait() -> None:
            stack, failure = contextlib.ExitStack(), None
            try:
                stack.enter_context(own_lock(self._lock, wait=True))
            except Exception as error:  # noqa: BLE001  (it is raised where it is waited for)
                failure = error
            try:
                loop.call_soon_threadsafe(give, stack, failure)
            except RuntimeError:  # the loop has ended
                stack.close()

        threading.Thread(target=wait, name="turn", daemon=True).start()
        return await held
