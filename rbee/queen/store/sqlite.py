"""One SQLite file, for one queen."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import peewee

from rbee.errors import ConfigInvalid, Conflict
from rbee.queen.store.migrations import SQLITE, migrate
from rbee.queen.store.models import database, execute

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "normal",
    "busy_timeout": 5000,
    "foreign_keys": 1,
    "cache_size": -16000,
    "secure_delete": 1,
}


class Sqlite:
    """``Engine`` over the file ``path``. A lock beside it keeps a second queen out."""

    writes_go_on = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.hint = f"free space: df -h {path.parent}"
        self._lock = -1
        self._named = False

    def open(self) -> list[str]:
        _make_private(self.path)
        self._lock = _lock(self.path)
        try:
            database.initialize(peewee.SqliteDatabase(str(self.path), pragmas=_PRAGMAS))
            return self._migrated()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        database.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        database.connect(reuse_if_open=True)
        yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with database.atomic("IMMEDIATE"):
            yield

    def sync(self) -> None:
        """Do with the log what SQLite does at each commit where synchronous is FULL, but not on the writer's time.

        A closed descriptor of the log takes no lock with it: SQLite's are on the database and on -shm.
        """
        if not self._named:
            _synced(self.path.parent)  # where the name of a new log is
            self._named = True
        _synced(self.path.with_name(self.path.name + "-wal"))

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database and truncate it."""
        execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def deposed(self) -> str | None:
        return None

    def _migrated(self) -> list[str]:
        try:
            database.connect()
            return migrate(SQLITE, self.transaction, self.name)
        except peewee.DatabaseError as error:
            with contextlib.suppress(peewee.DatabaseError):
                database.close()
            raise ConfigInvalid(
                f"database {self.path} cannot be used: {error}",
                hint="move it away to begin with an empty one, or name another [queen] database",
            ) from None


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


def _synced(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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
