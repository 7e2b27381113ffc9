"""Jobs and their events on disk. Functions for ``Store.write`` and ``Store.read``; wire values in and out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from rbee.errors import InvalidRequest
from rbee.orchestrator_core.jobs import may_follow
from rbee.queen.store import events
from rbee.queen.store.events import Entry
from rbee.queen.store.models import Decision, Event, Job, execute
from rbee.wire import codec
from rbee.wire.jobs import JobQuery, JobSpec, JobState, JobStatus, Priority

_INSERT = (
    "INSERT INTO job (id, digest, model, caller, priority, request_id, spec, state, reason, attempts, created_ms,"
    " skew_ms, pool, worker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING RETURNING seq"
)
"""What runs for each job is written out: to compose it takes longer than to run it."""


_SHOWN = (
    Job.id, Job.state, Job.model, Job.priority, Job.caller, Job.created_ms, Job.started_ms, Job.finished_ms,
    Job.reason, Job.attempts, Job.pool, Job.worker, Job.seed, Job.tokens_in, Job.tokens_out, Job.stop_reason, Job.error,
)  # fmt: skip
"""What a list shows of a job; its prompt, which may be long, is not even read."""


class Stale(Exception):
    """The job is no longer in a state that may become the one wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    id: str
    digest: str
    spec: JobSpec
    caller: str
    request_id: str
    created_ms: int
    skew_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A job as it lies there; ``fresh`` says that this very call put it there."""

    seq: int
    digest: str
    status: JobStatus
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A job to go on with after a restart; or, where what was asked cannot be read, to end with ``unreadable``."""

    seq: int
    spec: JobSpec
    request_id: str
    status: JobStatus
    last_event: int
    last_worker_event: int
    delivered: bool
    tokens: bytes = b""
    parts: frozenset[int] = frozenset()
    losses: int = 0
    skew_ms: int = 0
    unreadable: InvalidRequest | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A change of state and of columns, only made where the state may lead there."""

    state: JobState
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Whom a job is given to as it is accepted, and the record of that decision."""

    pool: str
    worker: str
    record: Mapping[str, Any]


def submit(new: NewJob, first: Entry, given: Given | None = None) -> Stored:
    """Store ``new`` with its first event, unless a job of that id exists; return what is there now."""
    spec, state = new.spec, JobState.QUEUED if given is None else JobState.DISPATCHED
    attempts, pool, worker = (0, None, None) if given is None else (1, given.pool, given.worker)
    made = execute(
        _INSERT, new.id, new.digest, spec.model, new.caller, spec.priority.value, new.request_id,
        codec.dump_json(spec), state.value, "", attempts, new.created_ms, new.skew_ms, pool, worker,
    ).fetchone()  # fmt: skip
    known = None if made else find(new.id)
    if known is not None:
        return known
    status = JobStatus(
        id=new.id, state=state, model=spec.model, priority=spec.priority, caller=new.caller, attempts=attempts,
        pool=pool, worker=worker, created_ms=new.created_ms, events_url=f"/v2/tasks/{new.id}/events",
    )  # fmt: skip
    events.insert([(made[0], first)])
    if given is not None:
        _keep(made[0], given.record, new.created_ms)
    return Stored(seq=made[0], digest=new.digest, status=status, fresh=True)


def forget(seq: int) -> None:
    """Delete a job with its events."""
    execute("DELETE FROM job WHERE seq = ?", seq)


def find(job: str) -> Stored | None:
    row = Job.get_or_none(Job.id == job)
    return None if row is None else Stored(seq=row.seq, digest=row.digest, status=_status(row))


def search(query: JobQuery, caller: str | None) -> tuple[JobStatus, ...]:
    """Return the jobs that match, newest first; only those of ``caller`` unless that is None.

    Raises:
        InvalidRequest: there is no job to go on after; an empty page would say that all were seen.
    """
    rows = Job.select(*_SHOWN).order_by(Job.seq.desc()).limit(query.limit)
    if query.state is not None:
        rows = rows.where(Job.state == query.state.value)
    if query.model is not None:
        rows = rows.where(Job.model == query.model)
    if caller is not None:
        rows = rows.where(Job.caller == caller)
    if query.after is not None:
        after = Job.get_or_none(Job.id == query.after)
        if after is None or caller not in (None, after.caller):
            raise codec.invalid([("after", f"is {query.after}, which is no job")])
        rows = rows.where(Job.seq < after.seq)
    return tuple(_status(row) for row in rows.namedtuples())


def record(seq: int, entries: Sequence[Entry], moves: Sequence[Move] = (), decision: Mapping[str, Any] | None = None,
           at_ms: int = 0) -> None:  # fmt: skip
    """Store events, and the changes of state they mean, together or not at all.

    Each move is one UPDATE guarded by the states that may precede it: who changes no row was second.

    Raises:
        Stale: nothing was stored.
    """
    for move in moves:
        before = [state.value for state in may_follow(move.state)]
        changed = "".join(f", {column} = ?" for column in move.columns)
        among = ", ".join("?" * len(before))
        statement = f"UPDATE job SET state = ?{changed} WHERE seq = ? AND state IN ({among})"  # noqa: S608  (our names)
        if execute(statement, move.state.value, *move.columns.values(), seq, *before).rowcount == 0:
            raise Stale
    if not moves and execute("SELECT 1 FROM job WHERE seq = ? AND finished_ms IS NULL", seq).fetchone() is None:
        raise Stale
    events.insert([(seq, each) for each in entries])
    if decision is not None:
        _keep(seq, decision, at_ms)


def append(told: Sequence[tuple[int, Sequence[Entry]]]) -> Sequence[Stale | None]:
    """Store events of several jobs, none of which changes its state; return for each whether that came too late.

    This runs for every token: what came together costs hardly more than one.
    """
    seqs = [seq for seq, _ in told]
    among = ", ".join("?" * len(seqs))
    rows = execute(f"SELECT seq FROM job WHERE seq IN ({among}) AND finished_ms IS NULL", *seqs)  # noqa: S608
    live = {seq for (seq,) in rows.fetchall()}
    events.insert([(seq, each) for seq, entries in told if seq in live for each in entries])
    return [None if seq in live else Stale() for seq in seqs]


def _keep(seq: int, decision: Mapping[str, Any], at_ms: int) -> None:
    execute("INSERT INTO decision (job, at_ms, data) VALUES (?, ?, ?)", seq, at_ms, json.dumps(decision))


def decisions(seq: int) -> tuple[Mapping[str, Any], ...]:
    rows = Decision.select().where(Decision.job == seq).order_by(Decision.id)
    return tuple({"at_ms": row.at_ms, **json.loads(row.data)} for row in rows)


def unfinished() -> tuple[Unfinished, ...]:
    """Return what a queen that starts has to go on with, in the order of arrival."""
    return tuple(_unfinished(row) for row in Job.select().where(Job.finished_ms.is_null()).order_by(Job.seq))


def spec_of(row: Job) -> JobSpec:
    """Return what was asked.

    Raises:
        InvalidRequest: another version of rbee wrote it, by rules of its own.
    """
    try:
        data = json.loads(row.spec)
    except ValueError as error:
        raise InvalidRequest(f"what is kept of job {row.id} is not JSON: {error}") from None
    return codec.from_dict(JobSpec, data, lenient=True)


def readable_spec(row: Job) -> JobSpec | None:
    """Return what was asked; None as far as this version can tell."""
    try:
        return spec_of(row)
    except InvalidRequest:
        return None


def _unfinished(row: Job) -> Unfinished:
    spec, unreadable = _read(row)
    mine = Event.job == row.seq
    this = mine & (Event.attempt == row.attempts)
    return Unfinished(
        seq=row.seq,
        spec=spec,
        request_id=row.request_id,
        status=_status(row),
        last_event=Event.select(peewee.fn.MAX(Event.id)).where(mine).scalar() or 0,
        last_worker_event=Event.select(peewee.fn.MAX(Event.worker_event)).where(this).scalar() or 0,
        delivered=Event.select().where(mine, Event.kind.in_(("token", "call"))).exists(),
        tokens=events.tokens(row.seq),
        parts=events.parts(row.seq),
        losses=max((each.get("losses", 0) for each in decisions(row.seq)), default=0) if row.attempts else 0,
        skew_ms=row.skew_ms,
        unreadable=unreadable,
    )


def _read(row: Job) -> tuple[JobSpec, InvalidRequest | None]:
    """Return what was asked; or what stands for it, and why it cannot be read."""
    try:
        return spec_of(row), None
    except InvalidRequest as error:
        what = f"it was accepted by another version of rbee, and this one cannot read it: {error.message}"
        unreadable = InvalidRequest(what, hint="submit it again", details=error.details)
        return JobSpec(model=row.model, priority=Priority(row.priority)), unreadable


def _status(row: Job) -> JobStatus:
    return JobStatus(
        id=row.id,
        state=JobState(row.state),
        model=row.model,
        priority=Priority(row.priority),
        caller=row.caller,
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        finished_ms=row.finished_ms,
        reason=row.reason,
        attempts=row.attempts,
        pool=row.pool,
        worker=row.worker,
        seed=row.seed,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        stop_reason=row.stop_reason,
        error=json.loads(row.error) if row.error else None,
        events_url=f"/v2/tasks/{row.id}/events",
    )
