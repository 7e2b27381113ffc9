"""rbee-keeper jobs list, status and cancel: one question each, so no event loop."""

import time
from typing import Any

from rbee.cli.confirm import dry_run
from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.cli.units import parse_int, seconds_text
from rbee.keeper.reach import ask
from rbee.wire import codec
from rbee.wire.jobs import JobQuery, JobStatus

_JOBS = (
    Column("JOB", "id"),
    Column("STATE", "state"),
    Column("MODEL", "model"),
    Column("AGE", "created_ms", lambda at: seconds_text(max(0.0, time.time() - at / 1000)), right=True),
    Column("WORKER", "worker"),
    Column("TOKENS", "tokens_out", right=True),
    Column("REASON", "reason"),
)


def list_jobs(args: Args, output: Output) -> None:
    wanted = {
        "state": args["--state"],
        "model": args["--model"],
        "limit": parse_int(args["--limit"], "--limit"),
        "after": args["--after"],
    }
    query = codec.from_dict(JobQuery, {key: value for key, value in wanted.items() if value is not None})
    output.table(ask(args, lambda queen: queen.list_jobs(query)), _JOBS, none="no jobs")


def get_job(args: Args, output: Output) -> None:
    job = ask(args, lambda queen: queen.get_job(args["<job>"]))
    output.facts(job, _shown(job))


def cancel_job(args: Args, output: Output) -> None:
    job = args["<job>"]
    if not dry_run(args, output, f"cancel {job}"):
        ask(args, lambda queen: queen.cancel_job(job))
        output.done(f"{job} cancelled", id=job)


def _shown(job: JobStatus) -> dict[str, Any]:
    error = job.error or {}
    return {
        "job": job.id,
        "state": job.state.value,
        "model": job.model,
        "worker": job.worker,
        "pool": job.pool,
        "position": job.queue_position,
        "reason": job.reason,
        "attempts": job.attempts or None,
        "seed": job.seed,
        "tokens": None if job.tokens_out is None else f"{job.tokens_in} in, {job.tokens_out} out",
        "ended by": job.stop_reason,
        "error": f"{error['code']}: {error['message']}" if error else None,
        "events": job.events_url,
    }
