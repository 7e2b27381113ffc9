"""Threads that own database connections, so that the event loop never waits for a disk."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peewee

from rbee import log
from rbee.errors import NoCapacity, ShuttingDown
from rbee.queen.store.models import database, execute

_LARGEST_GROUP = 256


@dataclass(slots=True)
class Task:
    """A function for a database thread, and whom to tell. ``alone``: it cannot run inside a transaction."""

    work: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    durable: bool = False
    alone: bool = False
    result: Any = None
    error: BaseException | None = None


class Readers:
    """A few threads, each with its own connection, that only read."""

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=f"reader-{n}", daemon=True) for n in range(count)]
        self._closed = False
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        if self._closed:
            raise ShuttingDown("the queen is stopping")
        self._tasks.put(task)

    def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with database.connection_context():
            while (task := self._tasks.get()) is not None:
                _perform(task)
                if isinstance(task.error, NoCapacity):
                    log.error("database.failed", database=database.database, error=task.error.details.get("cause"))
                _tell([task])


class Writer:
    """The one thread that writes. Whatever came while the last commit ran shares the next one.

    Args:
        observe_s: told how long each commit took.

    Attributes:
        trouble: why the last commit failed, in SQLite's words; None after one that did not.
    """

    def __init__(self, observe_s: Callable[[float], None]) -> None:
        self.trouble: str | None = None
        self._observe_s = observe_s
        self._coming: list[Task] = []
        self._tasks: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._closed = False
        self._busy_since: float | None = None
        self._thread.start()

    def submit(self, task: Task) -> None:
        if self._closed:
            raise ShuttingDown("the queen is stopping")
        self._coming.append(task)
        if len(self._coming) == 1:
            task.answer.get_loop().call_soon(self._hand_over)

    def close(self) -> None:
        """Finish what was submitted, then end."""
        self._closed = True
        self._hand_over()
        self._tasks.put(None)
        self._thread.join()

    def stuck_s(self) -> float:
        """Return how long the commit in progress has taken; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _hand_over(self) -> None:
        """Give the thread all that one turn of the loop brought: to wake it costs more than most writes."""
        if self._coming:
            self._tasks.put(self._coming)
            self._coming = []

    def _run(self) -> None:
        with database.connection_context():
            more = True
            while more:
                group, more = self._group()
                if group:
                    self._commit(group)

    def _group(self) -> tuple[list[Task], bool]:
        """Return everything that waits now, at least one task; and whether there will be more."""
        group: list[Task] = []
        while len(group) < _LARGEST_GROUP:
            try:
                tasks = self._tasks.get(block=not group)
            except queue.Empty:
                break
            if tasks is None:
                return group, False
            group += tasks
        return group, True

    def _commit(self, group: list[Task]) -> None:
        self._busy_since = began = time.monotonic()
        try:
            shared = [task for task in group if not task.alone]
            with _synced() if any(task.durable for task in shared) else contextlib.nullcontext():
                _together(shared)
            for task in group:
                if task.alone:
                    _perform(task)
        except Exception as error:  # noqa: BLE001  (the pragma itself failed: the disk is gone)
            for task in group:
                task.error = task.error or _explained(error)
        finally:
            self._busy_since = None
            self._observe_s(time.monotonic() - began)
            self._notice([task.error for task in group])
            _tell(group)

    def _notice(self, errors: list[BaseException | None]) -> None:
        """Log when the trouble begins and when it is over, and not once for each that tries meanwhile."""
        causes = [error.details.get("cause") for error in errors if isinstance(error, NoCapacity)]
        before, self.trouble = self.trouble, next(filter(None, causes), None)
        if self.trouble not in (None, before):
            log.error("database.failed", database=database.database, error=self.trouble)
        elif before is not None and self.trouble is None:
            log.event("database.recovered", database=database.database)


@contextlib.contextmanager
def _synced() -> Iterator[None]:
    """Within it a commit returns only when the disk has it (sqlite.org/pragma.html#pragma_synchronous)."""
    execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        execute("PRAGMA synchronous = NORMAL")


def _together(group: list[Task]) -> None:
    """Run the tasks in one transaction; one that fails takes back only its own changes.

    They hardly ever fail, and a savepoint for each costs as much as most of them: when one does, all are run again.
    """
    if not group:
        return
    try:
        try:
            with database.atomic("IMMEDIATE"):
                for task in group:
                    task.result = task.work()
        except (peewee.OperationalError, sqlite3.OperationalError):
            raise  # the disk, not a task
        except Exception:
            if len(group) == 1:
                raise
            with database.atomic("IMMEDIATE"):
                for task in group:
                    _apart(task)
    except Exception as error:  # noqa: BLE001  (handed to whoever waits)
        for task in group:
            task.error = task.error or _explained(error)


def _apart(task: Task) -> None:
    try:
        with database.atomic():
            task.result = task.work()
    except (peewee.OperationalError, sqlite3.OperationalError):
        raise  # the disk, not the task: nothing of this group is kept
    except Exception as error:  # noqa: BLE001
        task.error = _explained(error)


def _perform(task: Task) -> None:
    try:
        task.result = task.work()
    except Exception as error:  # noqa: BLE001
        task.error = _explained(error)


def _explained(error: Exception) -> Exception:
    """Return what a caller may hear: a full disk is something that passes."""
    if not isinstance(error, peewee.OperationalError | sqlite3.OperationalError):
        return error
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__  # SQLite has rolled back by itself, and peewee's own rollback failed after that
    return NoCapacity(
        f"the queen's database {database.database} cannot be used: {cause}",
        hint=f"free space: df -h {Path(database.database).parent}; it heals by itself",
        details={"retry_after_s": 5, "cause": str(cause)},
    )


def _tell(group: list[Task]) -> None:
    """Answer on the loop each task came from; all of one loop at once."""
    if not group:
        return
    loop = group[0].answer.get_loop()
    if loop.is_closed():
        return
    loop.call_soon_threadsafe(_settle, group)


def _settle(group: list[Task]) -> None:
    for task in group:
        if task.answer.done():
            continue
        if task.error is not None:
            task.answer.set_exception(task.error)
        else:
            task.answer.set_result(task.result)
