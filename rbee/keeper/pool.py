"""rbee-keeper pool list, state, drain and undrain: pools as the queen knows them, or as their hosts do."""

from typing import Any

from rbee.cli.confirm import dry_run
from rbee.cli.output import Column, Output
from rbee.cli.pools import gpus_line, show_gpus, show_state, state_line
from rbee.cli.run import Args
from rbee.cli.units import bytes_text, seconds_text
from rbee.cli.workers import WORKER_COLUMNS
from rbee.keeper.fleet import Shown, on_pools
from rbee.keeper.reach import reached
from rbee.pool_core.ops import PoolOps
from rbee.wire.pools import PoolStatus

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


async def list_pools(args: Args, output: Output) -> None:
    async with reached(args) as queen:
        output.table(await queen.list_pools(), _POOLS, none="no pools; rbee-keeper pool register HOST")


async def show_known(args: Args, output: Output) -> None:
    """Show what the queen knows of a pool."""
    async with reached(args) as queen:
        show_pool(await queen.get_pool(args["<pool>"]), output)


async def get_state(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.get_state(), Shown(line=state_line, whole=show_state))


async def list_gpus(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.list_gpus(), Shown(line=gpus_line, whole=show_gpus))


async def drain_pool(args: Args, output: Output) -> int | None:
    pool = args["<pool>"]
    if dry_run(args, output, f"drain {pool or ', '.join(args['--host'])}"):
        return None
    if args["--host"]:
        return await on_pools(args, output, _drained, Shown(line=str))
    async with reached(args) as queen:
        await queen.drain_pool(pool)
    output.done(f"{pool} takes no new work", id=pool)
    return None


async def undrain_pool(args: Args, output: Output) -> int | None:
    pool = args["<pool>"]
    if dry_run(args, output, f"undrain {pool or ', '.join(args['--host'])}"):
        return None
    if args["--host"]:
        return await on_pools(args, output, _undrained, Shown(line=str))
    async with reached(args) as queen:
        await queen.undrain_pool(pool)
    output.done(f"{pool} takes work again", id=pool)
    return None


async def _drained(pool: PoolOps) -> str:
    await pool.drain_pool()
    return "takes no new work"


async def _undrained(pool: PoolOps) -> str:
    await pool.undrain_pool()
    return "takes work again"


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
