"""What is begun with somebody else is not left half done, nor left to go on behind its caller's back."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rbee import log
from rbee.errors import RbeeError

R = TypeVar("R")


async def whole(work: Coroutine[Any, Any, R], undo: Callable[[], Coroutine[Any, Any, None]] | None = None) -> R:
    """Return what ``work`` returns. When cancelled, however often, wait for its end first.

    Args:
        undo: takes back, once the caller was cancelled, what ``work`` did.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _over(task)
        if undo is not None and not task.cancelled() and task.exception() is None:
            await _over(asyncio.ensure_future(_told(undo())))
        raise


async def _over(task: "asyncio.Future[Any]") -> None:
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})


async def _told(undo: Coroutine[Any, Any, None]) -> None:
    """Say where nothing could be taken back: who was cancelled is told nothing more."""
    try:
        await undo
    except RbeeError as error:
        log.warning("cancelled.not_undone", code=error.code, error=error.message)
