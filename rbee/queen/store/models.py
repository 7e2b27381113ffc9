"""The tables, and nothing else. Their columns are made by ``migrations``."""

from collections.abc import Sequence
from typing import Any

import peewee

database = peewee.DatabaseProxy()
"""The database that the store has opened, of whichever kind."""


class Table(peewee.Model):
    class Meta:
        database = database


class Text(peewee.TextField):
    """Text that every kind of database takes: PostgreSQL has no NUL."""

    def db_value(self, value: str | None) -> Any:
        return _without_nul(value)


class Job(Table):
    """``spec`` and the events of ``PARTS`` hold people's text; both go when ``erased_ms`` is set, and what ``error``,
    ``reason`` and the last event repeat of it.

    Its times are those of the wall clock when it came, and of what has passed since; ``skew_ms`` more is steady time.
    """

    seq = peewee.AutoField()
    id = Text(unique=True)
    digest = Text()
    model = Text()
    caller = Text()
    priority = Text()
    request_id = Text()
    spec = Text()
    state = Text()
    reason = Text()
    attempts = peewee.IntegerField()
    pool = Text(null=True)
    worker = Text(null=True)
    seed = peewee.IntegerField(null=True)
    tokens_in = peewee.IntegerField(null=True)
    tokens_out = peewee.IntegerField(null=True)
    stop_reason = Text(null=True)
    error = Text(null=True)
    created_ms = peewee.IntegerField()
    started_ms = peewee.IntegerField(null=True)
    finished_ms = peewee.IntegerField(null=True)
    erased_ms = peewee.IntegerField(null=True)
    skew_ms = peewee.IntegerField(default=0)

    class Meta:
        table_name = "job"


class Event(Table):
    """``id`` counts from 1 within a job; ``worker_event`` is the id the worker gave it in that attempt.

    ``tokens`` are the model's own, 32 bits each, from which another worker could go on.
    """

    job = peewee.IntegerField()
    id = peewee.IntegerField()
    kind = Text()
    data = Text()
    attempt = peewee.IntegerField()
    worker_event = peewee.IntegerField(null=True)
    tokens = peewee.BlobField(null=True)

    class Meta:
        table_name = "event"
        primary_key = peewee.CompositeKey("job", "id")
        without_rowid = True


class Response(Table):
    """A job that can be gone on from, and what its answer repeats of its request; people's text, as the job's own."""

    job = peewee.IntegerField(primary_key=True)
    asked = Text()

    class Meta:
        table_name = "response"


class Decision(Table):
    """Why a job waited and where it went, for ``explain``."""

    id = peewee.AutoField()
    job = peewee.IntegerField()
    at_ms = peewee.IntegerField()
    data = Text()

    class Meta:
        table_name = "decision"


class WorkerDecision(Table):
    """What became of a worker by the queen's will, for ``workers explain``. ``job`` is empty where none wanted it."""

    id = peewee.AutoField()
    at_ms = peewee.IntegerField()
    pool = Text()
    worker = Text()
    decision = Text()
    why = Text()
    job = Text()

    class Meta:
        table_name = "worker_decision"


class Pool(Table):
    """Whose each pool id is, and where; what a pool can do it says itself, again and again."""

    id = Text(primary_key=True)
    instance = Text()
    url = Text()
    version = Text()
    draining = peewee.BooleanField()

    class Meta:
        table_name = "pool"


class Clock(Table):
    """One row: what steady time it was when the queen last looked at the machine's clocks."""

    id = peewee.IntegerField(primary_key=True)
    boot = Text()
    up_ms = peewee.IntegerField()
    wall_ms = peewee.IntegerField()
    steady_ms = peewee.IntegerField()

    class Meta:
        table_name = "clock"


class Migration(Table):
    name = Text(primary_key=True)

    class Meta:
        table_name = "migration"


def execute(sql: str, *values: Any) -> Any:
    """Run what has no place in a model: pragmas, locks, migrations, and what runs for every token. ``?`` is a value."""
    return database.execute_sql(sql.replace("?", database.param), [_without_nul(value) for value in values])


def insert_rows(into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert ``rows`` ``into`` a table, ``name (column, …)``, in one statement: one for each costs several times more.

    There may be a few thousand values, and no text among them has a NUL.
    """
    if not rows:
        return
    row = f"({', '.join([database.param] * len(rows[0]))})"
    values = [value for each in rows for value in each]
    with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # what execute_sql wraps itself in
        statement = f"INSERT INTO {into} VALUES {', '.join([row] * len(rows))}"  # noqa: S608  (our names)
        database.cursor().execute(statement, values)


def _without_nul(value: Any) -> Any:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
