"""A file on its way: ``<name>.partial``, locked by whoever writes it, hashed as it grows, resumable after a crash.

The lock (flock(2)) is on the partial file itself, so it ends with its holder however that ends, and nothing is left
to clean up. Beside it ``<name>.partial.json`` says of what these bytes are the beginning.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from rbee.adapters.files import READABLE, give_to_owner, make_folder, rename, write_whole
from rbee.adapters.threads import feed, in_thread
from rbee.pool_core.catalog import PARTIAL

WAIT_S = 0.25
_STEP_BYTES = 32 << 20


class Partial:
    """The beginning of ``target``. Methods block; call them in a thread."""

    def __init__(self, target: Path, stream: io.FileIO) -> None:
        self.target = target
        self.path = partial_of(target)
        self.size_bytes = 0
        self._stream = stream
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Return the sum of what is there so far."""
        return self._digest.hexdigest()

    def begin(self, identity: str) -> bool:
        """Keep what is there when it is of ``identity``, else start empty; return whether there is something."""
        state = state_of(self.target)
        same = state.is_file() and state.read_text(encoding="utf-8", errors="replace") == identity
        if not same:
            self.restart()
            write_whole(state, identity.encode())
        self._stream.seek(0)
        return same and os.fstat(self._stream.fileno()).st_size > 0

    def hash_more(self) -> bool:
        """Hash the next 32 MiB of what is there; return whether there was any."""
        size = feed(self._digest, self._stream, _STEP_BYTES)
        self.size_bytes += size
        return size > 0

    def append(self, data: bytes) -> None:
        """Write ``data`` at the end; when the disk is full, what there was room for stays."""
        left = memoryview(data)
        while left:
            written = self._stream.write(left)
            self._digest.update(left[:written])
            self.size_bytes += written
            left = left[written:]

    def restart(self) -> None:
        """Forget all bytes."""
        self._stream.seek(0)
        self._stream.truncate()
        self._digest, self.size_bytes = hashlib.sha256(), 0

    def finish(self) -> None:
        """Give it its final name, durably."""
        os.fchmod(self._stream.fileno(), READABLE)
        os.fsync(self._stream.fileno())
        rename(self.path, self.target)
        state_of(self.target).unlink(missing_ok=True)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        state_of(self.target).unlink(missing_ok=True)


def partial_of(target: Path) -> Path:
    return target.with_name(target.name + PARTIAL)


def state_of(target: Path) -> Path:
    return target.with_name(f"{target.name}{PARTIAL}.json")


@contextlib.asynccontextmanager
async def writing(target: Path, waiting: Callable[[int], None]) -> AsyncIterator[Partial]:
    """Be the only writer of ``target`` on this host.

    Args:
        waiting: called four times a second with the bytes there are, while another downloads the same file.
    """
    stream = await _lock(target, waiting)
    try:
        yield Partial(target, stream)
    finally:
        stream.close()


def try_lock(stream: io.FileIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _lock(target: Path, waiting: Callable[[int], None]) -> io.FileIO:
    while True:
        stream = await in_thread(_open, target)
        try:
            while not try_lock(stream):
                waiting(os.fstat(stream.fileno()).st_size)
                await asyncio.sleep(WAIT_S)
            if _still_there(partial_of(target), stream):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()  # it was renamed or removed by the one we waited for; look again


def _open(target: Path) -> io.FileIO:
    make_folder(target.parent)
    descriptor = os.open(partial_of(target), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    give_to_owner(partial_of(target), target.parent)
    return io.FileIO(descriptor, "r+")  # unbuffered: what is counted is written


def _still_there(path: Path, stream: io.FileIO) -> bool:
    try:
        return path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return False
