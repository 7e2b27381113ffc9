"""rbee-keeper pool register and remove."""

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import Conflict
from rbee.keeper.pool import show_pool
from rbee.keeper.reach import pool_at, reached
from rbee.wire import codec
from rbee.wire.pools import PoolRegistration


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
        show_pool(await queen.register_pool(pool, codec.from_dict(PoolRegistration, wanted)), output)


async def remove_pool(args: Args, output: Output) -> None:
    pool = args["<pool>"]
    async with reached(args) as queen:
        await queen.get_pool(pool)
        if confirm(args, output, f"remove pool {pool}"):
            await queen.remove_pool(pool)
            output.done(f"{pool} removed", id=pool)
