"""Threads that own database connections, so that the event loop never waits for a disk."""

import asyncio
import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import peewee

from rbee import log
from rbee.errors import NoCapacity, ShuttingDown
from rbee.queen.store.engine import Engine
from rbee.queen.store.models import database

TROUBLE = (peewee.OperationalError, peewee.InterfaceError)
_LARGEST_GROUP = 256


Told: TypeAlias = Callable[[BaseException | None], None]
Batch: TypeAlias = Callable[[Sequence[Any]], Sequence[Exception | None]]


@dataclass(slots=True)
class Task:
    """A function for a database thread, and whom to tell.

    Args:
        work: what to run.
        alone: it cannot run inside a transaction.
        batch: runs instead of ``work`` for all of a transaction that have the same, with the ``part`` of each, and
            returns for each what is wrong with it.
        told: called on the loop when it is done, with what is wrong, before whoever awaits ``answer`` goes on.
    """

    work: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    alone: bool = False
    batch: "Batch | None" = None
    part: Any = None
    told: Told | None = None
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        """Do it by itself."""
        if self.batch is None:
            self.result = self.work()
        else:
            (self.error,) = self.batch([self.part])


class Readers:
    """A few threads, each with its own connection, that only read."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
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
        while (task := self._tasks.get()) is not None:
            self._read(task)
            if isinstance(task.error, NoCapacity):
                log.error("database.failed", database=self._engine.name, error=task.error.details.get("cause"))
            _tell([task])
        database.close()

    def _read(self, task: Task) -> None:
        """Do it, once more if the connection turns out to have been cut since its last use."""
        for _ in range(2):
            task.error = None
            try:
                with self._engine.reading():
                    task.result = task.work()
                return
            except Exception as error:  # noqa: BLE001
                task.error = _explained(error, self._engine)
                if not isinstance(task.error, NoCapacity):
                    return


class Writer:
    """The one thread that writes. Whatever came while the last commit ran shares the next one.

    Args:
        observe_s: told how long each commit took.

    Attributes:
        trouble: why the last commit failed, in the database's words; None after one that did not.
    """

    def __init__(self, engine: Engine, observe_s: Callable[[float], None]) -> None:
        self.trouble: str | None = None
        self._engine = engine
        self._opened: concurrent.futures.Future[list[str]] = concurrent.futures.Future()
        self._observe_s = observe_s
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._closed = False
        self._busy_since: float | None = None
        self._thread.start()

    def opened(self) -> list[str]:
        """Return which migrations were applied, once the database is open; raises as ``Engine.open``."""
        return self._opened.result()

    def submit(self, task: Task) -> None:
        if self._closed:
            raise ShuttingDown("the queen is stopping")
        self._tasks.put(task)

    def close(self) -> None:
        """Finish what was submitted, then end."""
        self._closed = True
        self._tasks.put(None)
        self._thread.join()

    def stuck_s(self) -> float:
        """Return how long the commit in progress has taken; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        try:
            applied = self._engine.open()
        except BaseException as error:  # noqa: BLE001  (it is its caller's)
            self._opened.set_exception(error)
            return
        self._opened.set_result(applied)
        more = True
        while more:
            group, more = self._group()
            if group:
                self._commit(group)
        self._engine.close()

    def _group(self) -> tuple[list[Task], bool]:
        """Return everything that waits now, at least one task; and whether there will be more."""
        group: list[Task] = []
        while len(group) < _LARGEST_GROUP:
            try:
                task = self._tasks.get(block=not group)
            except queue.Empty:
                break
            if task is None:
                return group, False
            group.append(task)
        return group, True

    def _commit(self, group: list[Task]) -> None:
        self._busy_since = began = time.monotonic()
        try:
            shared = [task for task in group if not task.alone]
            self._together(shared)
            for task in group:
                if task.alone:
                    task.result = task.work()
        except Exception as error:  # noqa: BLE001  (handed to whoever waits)
            for task in group:
                task.error = task.error or _explained(error, self._engine)
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
            log.error("database.failed", database=self._engine.name, error=self.trouble)
        elif before is not None and self.trouble is None:
            log.event("database.recovered", database=self._engine.name)

    def _together(self, group: list[Task]) -> None:
        """Run the tasks in one transaction; one that fails takes back only its own changes.

        They hardly ever fail, and a savepoint for each costs as much as most of them: when one does, all are run again.
        """
        if not group:
            return
        try:
            try:
                with self._engine.transaction():
                    for task in group:
                        if task.batch is None:
                            task.run()
                    _run_batches([task for task in group if task.batch is not None])
            except TROUBLE:
                raise  # the database, not a task
            except Exception:
                if len(group) == 1:
                    raise
                with self._engine.transaction():
                    for task in group:
                        self._apart(task)
        except Exception as error:  # noqa: BLE001  (handed to whoever waits)
            for task in group:
                task.error = task.error or _explained(error, self._engine)

    def _apart(self, task: Task) -> None:
        try:
            with database.atomic():
                task.run()
        except TROUBLE:
            raise  # the database, not the task: nothing of this group is kept
        except Exception as error:  # noqa: BLE001
            task.error = _explained(error, self._engine)


def _run_batches(tasks: list[Task]) -> None:
    """Run what may share a call in one; what is wrong with one of them is nothing to the others."""
    for batch in dict.fromkeys(task.batch for task in tasks):
        sharing = [task for task in tasks if task.batch is batch]
        if batch is not None:
            for task, error in zip(sharing, batch([task.part for task in sharing]), strict=True):
                task.error = error


def _explained(error: Exception, engine: Engine) -> Exception:
    """Return what a caller may hear: a full disk, or a server that is away, is something that passes."""
    if not isinstance(error, TROUBLE):
        return error
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__  # the rollback failed as well, after what it was to take back
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    return NoCapacity(
        f"the queen's database {engine.name} cannot be used: {said}",
        hint=f"{engine.hint}; it heals by itself",
        details={"retry_after_s": 5, "cause": said},
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
        if task.told is not None:
            task.told(task.error)
        if task.answer.done():
            continue
        if task.error is not None:
            task.answer.set_exception(task.error)
        else:
            task.answer.set_result(task.result)
