"""A worker is gone: how did it end? Its pool knows from systemd; that becomes the job's error."""

import asyncio
from collections.abc import Mapping
from typing import Any

from rbee import log
from rbee.errors import NotFound, RbeeError, WorkerHung, WorkerLost, WorkerOom
from rbee.queen.pools import Pools
from rbee.wire.workers import WorkerExit

LOOKS_S = (0.0, 0.3, 0.7, 1.5)
"""systemd notices the end of a process at once, its journal a moment later."""

_LOG_LINES = 20


async def loss_of(pools: Pools, pool: str, worker: str, *, since_ms: int, patient: bool) -> WorkerLost | None:
    """Return what became of ``worker``; None while its pool cannot tell or sees it alive.

    Args:
        since_ms: an exit before this moment, on the pool's clock, was before this job and explains nothing.
        patient: it is gone for certain, so look again until the pool has noticed.
    """
    for pause_s in LOOKS_S if patient else LOOKS_S[:2]:
        await asyncio.sleep(pause_s)
        try:
            status = await pools.client(pool).get_worker(worker)
        except NotFound as error:
            if error.details.get("casualty"):
                return WorkerLost(error.message, hint=error.hint, details={"pool": pool, "worker": worker})
            return WorkerLost(
                f"worker {worker} on {pool} was stopped while it had work", hint="rbee-keeper pool worker list"
            )
        except RbeeError as error:
            log.warning("pool.unreachable", pool=pool, error=error.message)
            return None
        last = status.last_exit
        if last is not None and last.at_ms >= since_ms:
            return explained(pool, worker, last)
    return None


def ended_by_itself(error: RbeeError) -> bool:
    """Say whether ``error`` is that a worker crashed or hung: it was not stopped, and its pool does know."""
    return isinstance(error, WorkerLost) and error.details.get("result", "success") != "success"


def unexplained(pool: str, worker: str) -> WorkerLost:
    return WorkerLost(
        f"worker {worker} on {pool} ended while it had work, and its pool cannot say why",
        hint=f"rbee-hive worker logs {worker}, on {pool}",
        details={"pool": pool, "worker": worker},
    )


def explained(pool: str, worker: str, ended: WorkerExit) -> WorkerLost:
    """Return the error for this way of ending."""
    who = f"worker {worker} on {pool}"
    details: dict[str, Any] = {"pool": pool, "worker": worker, "result": ended.result, "code": ended.code}
    details["log"] = list(ended.log[-_LOG_LINES:])
    if ended.oom or ended.result == "oom-kill":
        return _oom(who, ended, details)
    if ended.result == "watchdog":
        return WorkerHung(
            f"{who} made no progress and was killed by its watchdog",
            hint=f"rbee-hive worker logs {worker}",
            details=details,
        )
    how = f"{ended.result} {ended.code}".strip()
    return WorkerLost(f"{who} ended while it had work: {how}", hint=f"rbee-hive worker logs {worker}", details=details)


def _oom(who: str, ended: WorkerExit, details: Mapping[str, Any]) -> WorkerOom:
    limit, peak = ended.memory_limit_bytes, ended.memory_peak_bytes
    limit_text = "its memory limit" if limit is None else f"its memory limit of {limit} bytes"
    peak_text = "" if peak is None else f", peak {peak} bytes"
    return WorkerOom(
        f"{who} reached {limit_text} and was killed{peak_text}",
        hint="spawn it anew with more --memory than that, or with less --ctx or --slots",
        details={**details, "limit_bytes": limit, "peak_bytes": peak},
    )
