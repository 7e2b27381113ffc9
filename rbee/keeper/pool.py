"""rbee-keeper pool …: pools as the queen knows them."""

from typing import Any

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.cli.units import bytes_text, seconds_text
from rbee.cli.workers import WORKER_COLUMNS
from rbee.errors import Conflict
from rbee.keeper.reach import pool_at, reached
from rbee.wire import codec
from rbee.wire.pools import PoolRegistration, PoolStatus

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
_MODELS = (
    Column("MODEL", "id"),
    Column("POOLS", "pools", lambda pools: ", ".join(pools) or "–"),
    Column("SIZE", "size_bytes", bytes_text, right=True),
    Column("ALIASES", "aliases", ", ".join),
    Column("REFERENCE", "reference"),
)


async def list_pools(args: Args, output: Output) -> None:
    async with reached(args) as queen:
        output.table(await queen.list_pools(), _POOLS, none="no pools; rbee-keeper pool register ID --url URL")


async def get_pool(args: Args, output: Output) -> None:
    async with reached(args) as queen:
        _show(await queen.get_pool(args["<pool>"]), output)


async def register_pool(args: Args, output: Output) -> None:
    """Make a pool known before it calls by itself. Who it is has to be asked of it: an id belongs to one host.

    Raises:
        PoolUnreachable: nobody answers at the URL.
        Conflict: another pool does.
    """
    pool, url = args["<pool>"], args["--url"]
    if dry_run(args, output, f"register {pool} at {url}"):
        return
    async with pool_at(args, url) as there:
        found = await there.get_state()
    if found.id != pool:
        raise Conflict(
            f"the pool at {url} is {found.id}, not {pool}", hint=f"rbee pool register {found.id} --url {url}"
        )
    wanted = {"instance": found.instance, "url": url, "version": found.version}
    async with reached(args) as queen:
        _show(await queen.register_pool(pool, codec.from_dict(PoolRegistration, wanted)), output)


async def remove_pool(args: Args, output: Output) -> None:
    pool = args["<pool>"]
    async with reached(args) as queen:
        await queen.get_pool(pool)
        if confirm(args, output, f"remove pool {pool}"):
            await queen.remove_pool(pool)
            output.done(f"{pool} removed", id=pool)


async def drain_pool(args: Args, output: Output) -> None:
    pool = args["<pool>"]
    if not dry_run(args, output, f"drain {pool}"):
        async with reached(args) as queen:
            await queen.drain_pool(pool)
        output.done(f"{pool} takes no new work", id=pool)


async def undrain_pool(args: Args, output: Output) -> None:
    pool = args["<pool>"]
    if not dry_run(args, output, f"undrain {pool}"):
        async with reached(args) as queen:
            await queen.undrain_pool(pool)
        output.done(f"{pool} takes work again", id=pool)


async def list_models(args: Args, output: Output) -> None:
    async with reached(args) as queen:
        output.table(await queen.list_models(), _MODELS, none="the catalog is empty")


def _show(pool: PoolStatus, output: Output) -> None:
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
