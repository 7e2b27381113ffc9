"""What was decided about workers: started for whom, evicted for whom, stopped since nobody needed them."""

from rbee.queen.store.models import WorkerDecision
from rbee.wire.workers import WorkerDecision as Told


def note(key: tuple[str, str], decision: str, why: str, job: str, at_ms: int) -> None:
    pool, worker = key
    WorkerDecision.create(at_ms=at_ms, pool=pool, worker=worker, decision=decision, why=why, job=job)


def decisions(limit: int) -> dict[tuple[str, str], list[Told]]:
    """Return the last ``limit`` decisions by pool and worker, oldest first."""
    newest = WorkerDecision.select().order_by(WorkerDecision.id.desc()).limit(limit)
    found: dict[tuple[str, str], list[Told]] = {}
    for row in reversed(list(newest)):
        told = Told(at_ms=row.at_ms, decision=row.decision, why=row.why, job=row.job)
        found.setdefault((row.pool, row.worker), []).append(told)
    return found


def for_job(job: str) -> tuple[tuple[str, str, Told], ...]:
    """Return what was decided about workers for ``job``, with pool and worker."""
    rows = WorkerDecision.select().where(WorkerDecision.job == job).order_by(WorkerDecision.id)
    return tuple(
        (row.pool, row.worker, Told(at_ms=row.at_ms, decision=row.decision, why=row.why, job=row.job)) for row in rows
    )
