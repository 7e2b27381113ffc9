"""rbee-keeper pool list and status: pools as the queen knows them, or one as its host's systemd does."""

import time
from collections.abc import Awaitable
from typing import Any

from rbee.cli.output import Column, Output
from rbee.cli.pools import until_text
from rbee.cli.run import Args
from rbee.cli.units import seconds_text
from rbee.cli.workers import WORKER_COLUMNS
from rbee.keeper.reach import ask
from rbee.wire.draining import LEAVING
from rbee.wire.pools import PoolState, PoolStatus
from rbee.wire.words import bytes_text

_POOLS = (
    Column("POOL", "id"),
    Column("STATE", "state"),
    Column("WORKERS", "workers", len, right=True),
    Column("MODELS", "models", len, right=True),
    Column("GPUS", "gpus", len, right=True),
    Column("HEARD", "last_heartbeat_ms", lambda ms: f"{seconds_text(ms / 1000)} ago", right=True),
    Column("VERSION", "version"),
    Column("URL", "url"),
)
_WHY = Column("WHY", "why")
"""Only there when there is something to say."""


def is_there(pool: PoolStatus) -> bool:
    """Say whether its daemon of now has been heard: of one that has said goodbye the queen knows nothing newer."""
    return pool.state is not PoolState.LOST and pool.drain_reason not in LEAVING


def list_pools(args: Args, output: Output) -> None:
    pools = ask(args, lambda queen: queen.list_pools())
    columns = (*_POOLS, _WHY) if any(pool.why for pool in pools) else _POOLS
    output.table(pools, columns, none="no pools; rbee-keeper pool register HOST")


def get_pool(args: Args, output: Output) -> Awaitable[int | None] | None:
    """With ``--host`` ask systemd there, else the queen."""
    if args["--host"]:
        from rbee.keeper.units import unit_status  # noqa: PLC0415  (ssh, side by side: a loop)

        return unit_status(args, output)
    show_pool(ask(args, lambda queen: queen.get_pool(args["<pool>"])), output)
    return None


def show_pool(pool: PoolStatus, output: Output) -> None:
    """Show a pool as the queen knows it, with its workers."""
    output.facts(pool, _shown(pool))
    if not output.as_json:
        output.text("\n")
        output.table(pool.workers, WORKER_COLUMNS, none="no workers")


def _shown(pool: PoolStatus) -> dict[str, Any]:
    host = pool.host
    heard = None if pool.last_heartbeat_ms is None else f"{seconds_text(pool.last_heartbeat_ms / 1000)} ago"
    return {
        "pool": pool.id,
        "state": pool.state.value,
        "why": _why(pool),
        "address": pool.url,
        "version": pool.version,
        "heard": heard or "never",
        "backends": ", ".join(pool.backends),
        "gpus": ", ".join(gpu.name for gpu in pool.gpus),
        "memory": None
        if host is None
        else f"{bytes_text(host.memory_available_bytes)} available of {bytes_text(host.memory_total_bytes)}",
        "models": ", ".join(pool.models),
    }


def _why(pool: PoolStatus) -> str:
    lost = pool.state is PoolState.LOST
    return pool.why if lost or not pool.why else pool.why + until_text(pool.drain_until_ms, time.time() * 1000)
