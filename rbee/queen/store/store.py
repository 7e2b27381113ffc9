"""The queen's memory: one database, one writer thread, a few readers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rbee import log
from rbee.errors import NoCapacity
from rbee.queen.store.engine import Engine
from rbee.queen.store.sqlite import Sqlite
from rbee.queen.store.syncs import Syncs
from rbee.queen.store.threads import Batch, Readers, Task, Told, Writer

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2
STUCK_S = 30.0


class Store:
    """Give ``write`` and ``read`` a function of ``jobs``, ``events`` or ``pools`` and its arguments.

    Args:
        database: a path is an SQLite file.
        observe_s: told how long each commit took.

    Raises:
        Conflict: another queen has this database.
        ConfigInvalid: it cannot be opened, is none of ours, or a newer rbee wrote it.
    """

    def __init__(self, database: Path | Engine, *, observe_s: Callable[[float], None] = lambda _: None) -> None:
        self._engine = Sqlite(database) if isinstance(database, Path) else database
        self._syncs = Syncs(self._engine.sync)
        self._writer = Writer(self._engine, observe_s)
        applied = self._writer.opened()
        self._readers = Readers(self._engine, READERS)
        log.event("database.opened", path=self._engine.name, migrations=len(applied))

    async def write(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a transaction and return once it is committed: a killed queen still has it."""
        return await self.begin(lambda: work(*args, **kwargs))

    def begin(self, work: Callable[[], T], told: Told | None = None) -> "asyncio.Future[T]":
        """As ``write``, for one who goes on meanwhile: return what is done when it is committed.

        Args:
            told: called then with what is wrong, None where nothing is; before anybody else goes on.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.submit(Task(work, answer, told=told))
        return answer

    def share(self, batch: Batch, part: Any, told: Told | None = None) -> "asyncio.Future[None]":
        """As ``begin``, for what runs all the time: ``batch`` is called once for all parts that share a transaction."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer.submit(Task(_nothing, answer, batch=batch, part=part, told=told))
        return answer

    async def write_durably(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``write``, and a machine without power still has it."""
        done = await self.write(work, *args, **kwargs)
        await self.synced()
        return done

    async def synced(self) -> None:
        """Return once a machine without power still has whatever was written before this was called.

        Raises:
            NoCapacity: the disk does not take it.
        """
        try:
            await self._syncs.done()
        except OSError as error:
            raise NoCapacity(
                f"the queen's database {self._engine.name} cannot be used: {error.strerror}",
                hint=self._engine.hint,
                details={"retry_after_s": 5, "cause": str(error.strerror)},
            ) from None

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._submit(self._readers.submit, lambda: work(*args, **kwargs))

    async def checkpoint(self) -> None:
        """See to it that what was erased is nowhere any more."""
        if self._engine.writes_go_on:
            await self.read(self._engine.checkpoint)
        else:
            await self._submit(self._writer.submit, self._engine.checkpoint, alone=True)

    async def touch(self) -> None:
        """Find out whether the database is there and ours.

        Raises:
            NoCapacity: it is not.
        """
        await self.write(_nothing)

    def trouble(self) -> str | None:
        """Return why nothing can be written now, if so."""
        cause = self._writer.trouble
        return f"{cause}: {self._engine.name}" if cause else None

    def deposed(self) -> str | None:
        """Return why another queen has to go on where this one was, if so."""
        return self._engine.deposed()

    def standstill(self) -> str | None:
        """Return what is stuck, for the watchdog."""
        stuck_s = self._writer.stuck_s()
        return f"the database writer has been busy for {stuck_s:.0f} s" if stuck_s > STUCK_S else None

    def close(self) -> None:
        """Finish pending writes and let the database go."""
        self._readers.close()
        self._writer.close()

    async def _submit(self, submit: Callable[[Task], None], work: Callable[[], T], *, alone: bool = False) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        submit(Task(work, answer, alone))
        return await answer


def _nothing() -> None:
    """What is written to see whether one could."""
