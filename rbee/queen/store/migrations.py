"""The schema as the list of its changes. Applied names are stored; a released entry is never edited."""

from collections.abc import Mapping

from rbee.errors import ConfigInvalid
from rbee.queen.store.models import Migration, database, execute

MIGRATIONS: Mapping[str, tuple[str, ...]] = {
    "m001_jobs_events_pools": (
        """CREATE TABLE job (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            digest TEXT NOT NULL,
            model TEXT NOT NULL,
            caller TEXT NOT NULL,
            priority TEXT NOT NULL,
            request_id TEXT NOT NULL,
            spec TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            pool TEXT,
            worker TEXT,
            seed INTEGER,
            tokens_in INTEGER,
            tokens_out INTEGER,
            stop_reason TEXT,
            error TEXT,
            created_ms INTEGER NOT NULL,
            started_ms INTEGER,
            finished_ms INTEGER,
            erased_ms INTEGER
        ) STRICT""",
        "CREATE INDEX job_state ON job (state)",
        "CREATE INDEX job_finished ON job (finished_ms) WHERE finished_ms IS NOT NULL",
        """CREATE TABLE event (
            job INTEGER NOT NULL REFERENCES job (seq) ON DELETE CASCADE,
            id INTEGER NOT NULL,
            kind TEXT NOT NULL,
            data TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            worker_event INTEGER,
            PRIMARY KEY (job, id)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE decision (
            id INTEGER PRIMARY KEY,
            job INTEGER NOT NULL REFERENCES job (seq) ON DELETE CASCADE,
            at_ms INTEGER NOT NULL,
            data TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX decision_job ON decision (job)",
        """CREATE TABLE pool (
            id TEXT PRIMARY KEY,
            instance TEXT NOT NULL,
            url TEXT NOT NULL,
            version TEXT NOT NULL,
            draining INTEGER NOT NULL
        ) STRICT""",
    ),
    "m002_worker_decisions": (
        """CREATE TABLE worker_decision (
            id INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,
            pool TEXT NOT NULL,
            worker TEXT NOT NULL,
            decision TEXT NOT NULL,
            why TEXT NOT NULL,
            job TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX worker_decision_worker ON worker_decision (pool, worker, id)",
        "CREATE INDEX worker_decision_at ON worker_decision (at_ms)",
    ),
    "m003_tokens": ("ALTER TABLE event ADD COLUMN tokens BLOB",),
}


def migrate() -> list[str]:
    """Bring the open database up to date; return what was applied.

    Raises:
        ConfigInvalid: a newer rbee has written it; going on would lose what we cannot see.
    """
    execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY) STRICT")
    applied = {row.name for row in Migration.select()}
    unknown = sorted(applied - set(MIGRATIONS))
    if unknown:
        raise ConfigInvalid(
            f"database {database.database} was written by a newer rbee: it has {', '.join(unknown)}",
            hint="install that version again, or name another [queen] database",
        )
    missing = [name for name in MIGRATIONS if name not in applied]
    for name in missing:
        with database.atomic("IMMEDIATE"):
            for statement in MIGRATIONS[name]:
                execute(statement)
            Migration.create(name=name)
    return missing
