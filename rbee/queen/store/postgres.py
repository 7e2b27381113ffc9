"""PostgreSQL, for several queens of whom one reigns.

She who reigns holds an advisory lock in the very session that she writes in: whoever has lost that session can write
nothing that the next queen does not know of. A session whose other end fell silent is ended by the server itself within
six seconds, which frees the lock.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import peewee

from rbee.errors import ConfigInvalid, NoCapacity, ShuttingDown, Standby
from rbee.queen.store.migrations import POSTGRESQL, migrate
from rbee.queen.store.models import database, execute

Row: TypeAlias = tuple[Any, ...]
Waits: TypeAlias = Callable[[NoCapacity | Standby], None]

FENCE_S = 15.0
"""A queen that could not reach the database for so long gives up: another may reign by now."""

AWAY = (peewee.OperationalError, peewee.InterfaceError)
_LOCK = 0x7262_6565  # "rbee", as bytes; advisory locks are counted per database
_SILENCE_S, _PROBES = 2, 2
_CONNECT_S = 3
_AGAIN_S = 0.5
_ENDING_S = 10.0
_SESSION = {
    "tcp_keepalives_idle": f"{_SILENCE_S}",
    "tcp_keepalives_interval": f"{_SILENCE_S}",
    "tcp_keepalives_count": f"{_PROBES}",
    "tcp_user_timeout": f"{_SILENCE_S * (_PROBES + 1) * 1000}",
    "synchronous_commit": "on",
}
"""The server ends a session whose other end is gone after six seconds (its manual: runtime-config-connection); and what
it has called committed outlives its crash, for a queen goes on from there."""

_REFUSED = (
    "password",
    "does not exist",
    "no pg_hba.conf entry",
    "is not permitted",
    "certificate",
    "permission denied",
)
"""What a server says that no waiting will change."""


class Postgres:
    """``Engine`` over the database at ``url``.

    Args:
        url: postgresql://user@host/database?sslmode=…, all that libpq takes; no password in it.
        password: empty for none: libpq then looks into ~/.pgpass, or the server trusts who we are.
        address: where others reach this queen, for those who stand by.

    Attributes:
        waits: told, each time it changes, why this queen does not reign yet; None: she does not wait but fails.
    """

    writes_go_on = True

    def __init__(self, url: str, *, password: str = "", address: str = "") -> None:
        self.name = url.partition("?")[0]
        self.hint = f"pg_isready --dbname={self.name}"
        self._url, self._password, self._address = url, password, address
        self.waits: Waits | None = None
        self._left = threading.Event()
        self._reign: int | None = None
        self._session: Row | None = None
        self._deposed: str | None = None
        self._away_since_s: float | None = None

    def open(self) -> list[str]:
        """As any engine; but where ``waits`` is given it returns when this queen reigns, however long that takes.

        Raises:
            ShuttingDown: ``leave`` was called meanwhile.
        """
        database.initialize(_database(self._url, self._password))
        try:
            self._wait()
            applied = migrate(POSTGRESQL, self._at_once, self.name)
            self._reign = _begin_reign(self._address)
        except BaseException:
            database.close()
            raise
        return applied

    def leave(self) -> None:
        """Wait no longer."""
        self._left.set()

    def close(self) -> None:
        database.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        if not _usable():
            database.close()
            database.connect()
        try:
            yield
        except AWAY:
            database.close()  # the next question finds out whether the server is back
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit as any engine does, and know of a commit whose answer was lost whether it happened."""
        self._reach()
        number, committing = "", False
        try:
            with database.atomic():
                number = execute("SELECT pg_current_xact_id()::text").fetchone()[0]
                yield
                committing = True
        except AWAY:
            if not _usable():
                self._away_since_s = self._away_since_s or time.monotonic()
            if not (committing and self._happened(number)):
                raise

    def sync(self) -> None:
        """A commit of PostgreSQL's is on disk anyway."""

    def checkpoint(self) -> None:
        """Have the rows that were deleted or changed overwritten in time, as VACUUM prepares it."""
        execute("VACUUM event, response, job, decision")

    def deposed(self) -> str | None:
        since_s = self._away_since_s
        if self._deposed is None and since_s is not None and time.monotonic() - since_s > FENCE_S:
            return f"database {self.name} could not be reached for {FENCE_S:g} s"
        return self._deposed

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        with database.atomic():
            yield

    def _wait(self) -> None:
        """Return when this queen has the lock."""
        told = ""
        while (trouble := self._tried()) is not None:
            if self.waits is None:
                raise trouble
            if trouble.message != told:
                self.waits(trouble)
            told = trouble.message
            if self._left.wait(_AGAIN_S):
                raise ShuttingDown("the queen is stopping")

    def _tried(self) -> NoCapacity | Standby | None:
        """Try to reign; return why not."""
        try:
            if not _usable():
                self._connect()
            if _locked():
                return None
            reigns = _who_reigns()
            return Standby(
                f"this queen stands by: {reigns or 'another one'} reigns",
                hint=f"ask {reigns}" if reigns else f"psql {self.name} -c 'TABLE reign'",
                details={"active": reigns, "retry_after_s": 2},
            )
        except AWAY as error:
            self._refuse_for_good(str(error))
            return NoCapacity(
                f"the queen's database {self.name} cannot be used: {_first_line(error)}",
                hint=f"{self.hint}; she goes on by herself once it answers",
                details={"retry_after_s": 5, "cause": _first_line(error)},
            )

    def _refuse_for_good(self, said: str) -> None:
        if any(each in said for each in _REFUSED):
            raise ConfigInvalid(
                f"database {self.name} refuses us: {said.strip().splitlines()[-1]}",
                hint=f"try it: psql {self.name}; then [queen] database and database_password_file",
            )

    def _connect(self) -> None:
        database.close()
        database.connect()
        for setting, value in _SESSION.items():
            execute("SELECT set_config(?, ?, false)", setting, value)
        self._session = execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()

    def _reach(self) -> None:
        """Have a session that holds the lock, the old one or, after it broke, a new one.

        Raises:
            OperationalError: the server does not answer, or another queen reigns.
        """
        if self._deposed is not None:
            raise peewee.OperationalError(self._deposed)
        if _usable():
            return
        self._away_since_s = self._away_since_s or time.monotonic()
        before = self._session
        self._connect()
        _end_session(before)
        if not self._locked_soon() or _reign() != self._reign:
            self._deposed = f"another queen reigns in {self.name}: {_who_reigns()}"
            database.close()
            raise peewee.OperationalError(self._deposed)
        self._away_since_s = None

    def _locked_soon(self) -> bool:
        """Take the lock back; a session of ours that was just ended may have it a moment longer, while none reigns."""
        until_s = time.monotonic() + _ENDING_S
        while not _locked():
            if time.monotonic() > until_s or _reign() != self._reign:
                return False
            self._left.wait(_ENDING_S / 100)
        return True

    def _happened(self, number: str) -> bool:
        """Say whether the transaction was committed though nobody told us; asks until somebody does."""
        while self.deposed() is None:
            with contextlib.suppress(*AWAY):
                self._reach()
                status = execute("SELECT pg_xact_status(?::xid8)", number).fetchone()[0]
                if status != "in progress":
                    return bool(status == "committed")
            self._left.wait(_AGAIN_S)
        return False


def _database(url: str, password: str) -> peewee.PostgresqlDatabase:
    try:
        import psycopg  # noqa: F401, PLC0415  (peewee says only that it is not there)
    except ImportError:
        raise ConfigInvalid(
            "[queen] database is postgresql://…, but psycopg is not installed here", hint="pip install 'rbee[postgres]'"
        ) from None
    given: dict[str, Any] = {"password": password} if password else {}
    return peewee.PostgresqlDatabase(
        url,
        prefer_psycopg3=True,
        application_name="queen-rbee",
        connect_timeout=_CONNECT_S,
        keepalives_idle=_SILENCE_S,
        keepalives_interval=_SILENCE_S,
        keepalives_count=_PROBES,
        tcp_user_timeout=_SILENCE_S * (_PROBES + 1) * 1000,
        **given,
    )


def _usable() -> bool:
    """Say whether this thread has a connection, as far as is known without asking the server."""
    return not database.is_closed() and bool(database.is_connection_usable())


def _locked() -> bool:
    return bool(execute("SELECT pg_try_advisory_lock(?)", _LOCK).fetchone()[0])


def _end_session(session: Row | None) -> None:
    """End a session of ours that the server may take for alive."""
    if session is not None:
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ? AND backend_start = ?", *session
        ).fetchall()


def _begin_reign(address: str) -> int:
    """Count one reign more; whoever had the one before is deposed by that."""
    execute("CREATE TABLE IF NOT EXISTS reign (one INT PRIMARY KEY CHECK (one = 1), number BIGINT, address TEXT)")
    row = execute(
        """INSERT INTO reign VALUES (1, 1, ?) ON CONFLICT (one)
        DO UPDATE SET number = reign.number + 1, address = excluded.address RETURNING number""",
        address,
    ).fetchone()
    return int(row[0])


def _reign() -> int:
    return int(execute("SELECT number FROM reign").fetchone()[0])


def _who_reigns() -> str:
    """Return the address of the queen who reigns, as far as she has written it down."""
    if execute("SELECT to_regclass('reign')").fetchone()[0] is None:
        return ""
    row = execute("SELECT address FROM reign").fetchone()
    return str(row[0]) if row else ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
