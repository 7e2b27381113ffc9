"""Blocking work off the event loop, never left running behind its caller's back."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_STEP_BYTES = 32 << 20
_READ_BYTES = 1 << 20


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what ``work`` returns. When cancelled, wait for its end first: it may be using an open file."""
    return await _ended(asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs)))


async def in_thread_of(executor: Executor, work: Callable[[], R]) -> R:
    """The same for what may take its time, on threads of its own: the common ones are few, and heartbeats need them."""
    return await _ended(asyncio.get_running_loop().run_in_executor(executor, work))


async def _ended(running: "asyncio.Future[R]") -> R:
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def sha256_of(path: Path, tell: Callable[[int], None] = lambda _: None) -> str:
    """Return the hex sha256 of a file.

    Args:
        tell: called with the bytes read so far, every 32 MiB; between two calls it can be cancelled.
    """
    digest = hashlib.sha256()
    stream = await in_thread(path.open, "rb")
    try:
        done = 0
        while size := await in_thread(feed, digest, stream, _STEP_BYTES):
            done += size
            tell(done)
    finally:
        stream.close()
    return digest.hexdigest()


def feed(digest: "hashlib._Hash", stream: Readable, most_bytes: int) -> int:
    """Hash up to ``most_bytes`` from ``stream``; return how many there were."""
    done = 0
    while done < most_bytes and (data := stream.read(min(_READ_BYTES, most_bytes - done))):
        digest.update(data)
        done += len(data)
    return done
