"""The queen's memory: one SQLite file, one writer thread, a few readers."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import peewee

from rbee import log
from rbee.errors import ConfigInvalid, Conflict
from rbee.queen.store import retention
from rbee.queen.store.migrations import migrate
from rbee.queen.store.models import database
from rbee.queen.store.threads import Readers, Task, Writer

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2
STUCK_S = 30.0
_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "normal",
    "busy_timeout": 5000,
    "foreign_keys": 1,
    "cache_size": -16000,
    "secure_delete": 1,
}


class Store:
    """Give ``write`` and ``read`` a function of ``jobs``, ``events`` or ``pools`` and its arguments.

    Raises:
        Conflict: another queen has this database.
        ConfigInvalid: it cannot be opened, is none of ours, or a newer rbee wrote it.
    """

    def __init__(self, path: Path, *, observe_s: Callable[[float], None] = lambda _: None) -> None:
        self.path = path
        _make_private(path)
        self._lock = _lock(path)
        try:
            database.init(str(path), pragmas=_PRAGMAS)
            applied = _opened(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._writer = Writer(observe_s)
        self._readers = Readers(READERS)
        log.event("database.opened", path=path, migrations=len(applied))

    async def write(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a transaction and return once it is committed: a killed queen still has it."""
        return await self._submit(self._writer.submit, lambda: work(*args, **kwargs))

    async def write_durably(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``write``, and a machine without power still has it."""
        return await self._submit(self._writer.submit, lambda: work(*args, **kwargs), durable=True)

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._submit(self._readers.submit, lambda: work(*args, **kwargs))

    async def checkpoint(self) -> None:
        """Bring the log into the file and empty it, so that erased text is in neither."""
        await self._submit(self._writer.submit, retention.checkpoint, alone=True)

    def trouble(self) -> str | None:
        """Return why nothing can be written now, if so."""
        cause = self._writer.trouble
        return f"{cause}: {self.path}" if cause else None

    def standstill(self) -> str | None:
        """Return what is stuck, for the watchdog."""
        stuck_s = self._writer.stuck_s()
        return f"the database writer has been busy for {stuck_s:.0f} s" if stuck_s > STUCK_S else None

    def close(self) -> None:
        """Finish pending writes and let the file go."""
        self._writer.close()
        self._readers.close()
        os.close(self._lock)

    async def _submit(
        self, submit: Callable[[Task], None], work: Callable[[], T], *, durable: bool = False, alone: bool = False
    ) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        submit(Task(work, answer, durable, alone))
        return await answer


def _make_private(path: Path) -> None:
    """Create the file 0600 before SQLite does; its -wal and -shm take the mode over."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigInvalid(
            f"database {path} cannot be opened: {error.strerror}", hint="name another with [queen] database"
        ) from None


def _lock(path: Path) -> int:
    """Lock a file beside the database: closing a descriptor of the database itself would drop SQLite's own locks."""
    beside = path.with_name(path.name + ".lock")
    lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Conflict(
            f"another queen uses the database {path}",
            hint="systemctl status rbee-queen, or name another [queen] database",
            details={"database": str(path)},
        ) from None
    return lock


def _opened(path: Path) -> list[str]:
    try:
        with database.connection_context():
            return migrate()
    except peewee.DatabaseError as error:
        with contextlib.suppress(peewee.DatabaseError):
            database.close()
        raise ConfigInvalid(
            f"database {path} cannot be used: {error}",
            hint="move it away to begin with an empty one, or name another [queen] database",
        ) from None
