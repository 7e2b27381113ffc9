"""rbee-keeper pool state, gpu, drain and undrain: pools as they know themselves."""

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.pools import gpus_line, show_gpus, show_state, state_line
from rbee.cli.run import Args
from rbee.keeper.fleet import Shown, on_pools
from rbee.keeper.hosts import named
from rbee.keeper.reach import reached
from rbee.pool_core.ops import PoolOps


async def get_state(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.get_state(), Shown(line=state_line, whole=show_state))


async def list_gpus(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.list_gpus(), Shown(line=gpus_line, whole=show_gpus))


async def drain_pool(args: Args, output: Output) -> int | None:
    pool = args["<pool>"]
    if dry_run(args, output, f"drain {pool or named(args)}"):
        return None
    if args["--host"]:
        return await on_pools(args, output, _drained, Shown(line=str))
    async with reached(args) as queen:
        await queen.drain_pool(pool)
    output.done(f"{pool} takes no new work", id=pool)
    return None


async def undrain_pool(args: Args, output: Output) -> int | None:
    pool = args["<pool>"]
    if dry_run(args, output, f"undrain {pool or named(args)}"):
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
