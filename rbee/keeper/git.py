"""rbee-keeper pool git …: the checkouts of hosts."""

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.git import SUBMODULE_COLUMNS, show_status, show_update, status_line, update_line
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.keeper.fleet import Shown, on_pools, table
from rbee.keeper.hosts import named
from rbee.wire.git import GitStatus, GitSyncSpec, GitUpdate

_STATUS: Shown[GitStatus] = Shown(line=status_line, whole=show_status)
_UPDATE: Shown[GitUpdate] = Shown(line=update_line, whole=show_update)


async def git_status(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.git_status(), _STATUS)


async def git_submodules(args: Args, output: Output) -> int:
    return await table(args, output, lambda pool: pool.git_submodules(), SUBMODULE_COLUMNS, none="no submodules")


async def git_pull(args: Args, output: Output) -> int | None:
    if dry_run(args, output, f"pull on {named(args)}"):
        return None
    return await on_pools(args, output, lambda pool: pool.git_pull(), _UPDATE)


async def git_sync(args: Args, output: Output) -> int | None:
    """Local changes are thrown away only with --yes; without it a host that has some refuses, and names them."""
    if args["--yes"]:
        if not confirm(args, output, f"throw away local changes on {named(args)}"):
            return None
    elif dry_run(args, output, f"sync on {named(args)}"):
        return None
    spec = GitSyncSpec(discard=bool(args["--yes"]))
    return await on_pools(args, output, lambda pool: pool.git_sync(spec), _UPDATE)
