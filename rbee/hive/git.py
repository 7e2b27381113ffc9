"""rbee-hive git …: the checkout that [pool] repo names."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from rbee.adapters.git_checkout import become_owner, may_act
from rbee.cli.confirm import can_ask, confirm, dry_run
from rbee.cli.git import SUBMODULE_COLUMNS, show_status, show_update
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.hive.reach import reached, settings_of
from rbee.pool_core.ops import PoolOps
from rbee.wire.git import GitSyncSpec, SubmoduleState
from rbee.wire.words import counted


async def git_status(args: Args, output: Output) -> None:
    async with _reached(args) as pool:
        show_status(await pool.git_status(), output)


async def git_submodules(args: Args, output: Output) -> None:
    async with _reached(args) as pool:
        output.table(await pool.git_submodules(), SUBMODULE_COLUMNS, none="no submodules")


async def git_pull(args: Args, output: Output) -> None:
    if not dry_run(args, output, "pull"):
        async with _reached(args) as pool:
            show_update(await pool.git_pull(), output)


async def git_sync(args: Args, output: Output) -> None:
    """Ask only when something would be lost."""
    async with _reached(args) as pool:
        status = await pool.git_status()
        modified = [each for each in status.submodules if each.state is SubmoduleState.MODIFIED]
        lost = len(status.changes) + len(modified) + status.ahead
        if not lost and dry_run(args, output, f"sync {status.path}"):
            return
        discard = bool(args["--yes"])
        if lost and (discard or args["--dry-run"] or can_ask()):
            discard = confirm(args, output, f"throw away {counted(lost, 'local change')} in {status.path}")
            if not discard:
                return
        show_update(await pool.git_sync(GitSyncSpec(discard=discard)), output)  # which refuses, and names them


@contextlib.asynccontextmanager
async def _reached(args: Args) -> AsyncIterator[PoolOps]:
    """Give the pool: this host itself, as the owner of the checkout, unless only the daemon may be that."""
    repo = settings_of(args).pool.repo
    path = Path(repo) if repo else None
    async with reached(args, ours=may_act(path)) as pool:
        if not args["--http"]:
            become_owner(path)
        yield pool
