"""rbee-keeper pool state, gpu, drain and undrain: pools as they know themselves."""

import contextlib

from rbee.cli.confirm import dry_run
from rbee.cli.gpus import gpus_line, show_gpus
from rbee.cli.output import Output
from rbee.cli.pools import moves_text, parse_deadline, show_state, state_line
from rbee.cli.run import Args
from rbee.errors import RbeeError
from rbee.keeper.fleet import Shown, on_pools
from rbee.keeper.hosts import chosen, named
from rbee.keeper.reach import reached
from rbee.pool_core.ops import PoolOps
from rbee.wire.draining import DrainReason
from rbee.wire.pools import PoolState


async def get_state(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.get_state(), Shown(line=state_line, whole=show_state))


async def list_gpus(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.list_gpus(), Shown(line=gpus_line, whole=show_gpus))


async def drain_pool(args: Args, output: Output) -> int | None:
    pool, deadline_s = args["<pool>"], parse_deadline(args)
    if dry_run(args, output, f"drain {pool or named(args)}"):
        return None
    if args["--host"]:
        return await on_pools(args, output, lambda pool: _drained(pool, deadline_s), Shown(line=str))
    async with reached(args) as queen:
        await queen.drain_pool(pool, deadline_s)
    output.done(f"{pool} takes no new work{moves_text(deadline_s)}; rbee-keeper pool undrain {pool} ends that", id=pool)
    return None


async def undrain_pool(args: Args, output: Output) -> int | None:
    pool = args["<pool>"]
    if dry_run(args, output, f"undrain {pool or named(args)}"):
        return None
    if args["--host"]:
        code = await on_pools(args, output, _undrained, Shown(line=str))
        await _say_who_drains(args, output)
        return code
    async with reached(args) as queen:
        await queen.undrain_pool(pool)
    output.done(f"{pool} takes work again", id=pool)
    return None


async def _say_who_drains(args: Args, output: Output) -> None:
    """Say of which hosts the queen goes on to give no work: what is drained at her is not undrained at the host."""
    hosts = {host.name: host.pool for host in chosen(args)}
    with contextlib.suppress(RbeeError):
        async with reached(args, any_version=True) as queen:
            for pool in await queen.list_pools():
                by_operator = pool.state is PoolState.DRAINING and pool.drain_reason is DrainReason.OPERATOR
                if by_operator and (pool.id in hosts or pool.url in hosts.values()):
                    output.say(f"the queen still drains {pool.id}: rbee-keeper pool undrain {pool.id}")


async def _drained(pool: PoolOps, deadline_s: float | None) -> str:
    await pool.drain_pool(deadline_s)
    return f"takes no new work{moves_text(deadline_s)}"


async def _undrained(pool: PoolOps) -> str:
    await pool.undrain_pool()
    return "takes work again"
