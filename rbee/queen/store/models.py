"""The tables, and nothing else. Their columns are made by ``migrations``."""

from collections.abc import Sequence
from typing import Any

import peewee

database = peewee.SqliteDatabase(None)


class Table(peewee.Model):
    class Meta:
        database = database


class Job(Table):
    """``spec`` and the events of kind ``token`` hold people's text; both go when ``erased_ms`` is set."""

    seq = peewee.AutoField()
    id = peewee.TextField(unique=True)
    digest = peewee.TextField()
    model = peewee.TextField()
    caller = peewee.TextField()
    priority = peewee.TextField()
    request_id = peewee.TextField()
    spec = peewee.TextField()
    state = peewee.TextField()
    reason = peewee.TextField()
    attempts = peewee.IntegerField()
    pool = peewee.TextField(null=True)
    worker = peewee.TextField(null=True)
    seed = peewee.IntegerField(null=True)
    tokens_in = peewee.IntegerField(null=True)
    tokens_out = peewee.IntegerField(null=True)
    stop_reason = peewee.TextField(null=True)
    error = peewee.TextField(null=True)
    created_ms = peewee.IntegerField()
    started_ms = peewee.IntegerField(null=True)
    finished_ms = peewee.IntegerField(null=True)
    erased_ms = peewee.IntegerField(null=True)

    class Meta:
        table_name = "job"


class Event(Table):
    """``id`` counts from 1 within a job; ``worker_event`` is the id the worker gave it in that attempt.

    ``tokens`` are the model's own, 32 bits each, from which another worker could go on.
    """

    job = peewee.IntegerField()
    id = peewee.IntegerField()
    kind = peewee.TextField()
    data = peewee.TextField()
    attempt = peewee.IntegerField()
    worker_event = peewee.IntegerField(null=True)
    tokens = peewee.BlobField(null=True)

    class Meta:
        table_name = "event"
        primary_key = peewee.CompositeKey("job", "id")
        without_rowid = True


class Decision(Table):
    """Why a job waited and where it went, for ``explain``."""

    id = peewee.AutoField()
    job = peewee.IntegerField()
    at_ms = peewee.IntegerField()
    data = peewee.TextField()

    class Meta:
        table_name = "decision"


class WorkerDecision(Table):
    """What became of a worker by the queen's will, for ``workers explain``. ``job`` is empty where none wanted it."""

    id = peewee.AutoField()
    at_ms = peewee.IntegerField()
    pool = peewee.TextField()
    worker = peewee.TextField()
    decision = peewee.TextField()
    why = peewee.TextField()
    job = peewee.TextField()

    class Meta:
        table_name = "worker_decision"


class Pool(Table):
    """Whose each pool id is, and where; what a pool can do it says itself, again and again."""

    id = peewee.TextField(primary_key=True)
    instance = peewee.TextField()
    url = peewee.TextField()
    version = peewee.TextField()
    draining = peewee.BooleanField()

    class Meta:
        table_name = "pool"


class Migration(Table):
    name = peewee.TextField(primary_key=True)

    class Meta:
        table_name = "migration"


def execute(sql: str, *values: Any) -> Any:
    """Run what has no place in a model: pragmas, the statements of migrations, and what runs for every token."""
    return database.execute_sql(sql, values)  # type: ignore[no-untyped-call]


def execute_many(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run ``sql`` once for each of ``rows``; its failures are sqlite3's own."""
    database.connection().executemany(sql, rows)  # type: ignore[no-untyped-call]
