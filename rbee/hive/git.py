"""rbee-hive git …: the checkout that [pool] repo names."""

import os
from pathlib import Path

from rbee.cli.confirm import can_ask, confirm, dry_run
from rbee.cli.git import SUBMODULE_COLUMNS, show_status, show_update
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.hive.reach import reached, settings_of
from rbee.wire.git import GitSyncSpec, SubmoduleState
from rbee.wire.words import counted


async def git_status(args: Args, output: Output) -> None:
    async with reached(args, ours=_is_ours(args)) as pool:
        show_status(await pool.git_status(), output)


async def git_submodules(args: Args, output: Output) -> None:
    async with reached(args, ours=_is_ours(args)) as pool:
        output.table(await pool.git_submodules(), SUBMODULE_COLUMNS, none="no submodules")


async def git_pull(args: Args, output: Output) -> None:
    if not dry_run(args, output, "pull"):
        async with reached(args, ours=_is_ours(args)) as pool:
            show_update(await pool.git_pull(), output)


async def git_sync(args: Args, output: Output) -> None:
    """Ask only when something would be lost."""
    async with reached(args, ours=_is_ours(args)) as pool:
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


def _is_ours(args: Args) -> bool:
    """Say whether the checkout belongs to this user: git lets nobody else at it, the daemon's user included."""
    repo = settings_of(args).pool.repo
    try:
        return not repo or Path(repo).stat().st_uid == os.geteuid()
    except OSError:
        return True
