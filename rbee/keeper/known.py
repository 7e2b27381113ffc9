"""rbee-keeper pool list and status: pools as the queen knows them, or one as its host's systemd does."""

from collections.abc import Awaitable
from typing import Any

from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.cli.units import seconds_text
from rbee.cli.workers import WORKER_COLUMNS
from rbee.keeper.reach import ask
from rbee.wire.pools import PoolStatus
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


def list_pools(args: Args, output: Output) -> None:
    output.table(ask(args, lambda queen: queen.list_pools()), _POOLS, none="no pools; rbee-keeper pool register HOST")


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
