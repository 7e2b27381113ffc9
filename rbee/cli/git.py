"""What both command lines say of a checkout."""

from typing import Any

from rbee.cli.output import Column, Output
from rbee.wire.git import GitChange, GitStatus, GitUpdate, SubmoduleState
from rbee.wire.words import counted

SUBMODULE_COLUMNS = (
    Column("SUBMODULE", "id"),
    Column("STATE", "state"),
    Column("PATH", "path"),
    Column("COMMIT", "commit", lambda commit: commit[:12]),
    Column("WANTED", "wanted_commit", lambda commit: commit[:12]),
    Column("URL", "url"),
)
_SHOWN = 12


def show_status(status: GitStatus, output: Output) -> None:
    """Show how a checkout stands."""
    output.facts(
        status,
        {
            "checkout": status.path,
            "branch": status.branch or f"none, at {status.commit[:_SHOWN]} (detached head)",
            "commit": status.commit[:_SHOWN],
            "follows": status.upstream or "nothing",
            "remote": status.remote or "none",
            "against it": _distance(status),
            "changed": _files(status.changes) or "nothing",
            "submodules": "\n".join(f"{each.path}  {each.state.value}" for each in status.submodules),
        },
    )


def show_update(update: GitUpdate, output: Output) -> None:
    """Show what an update brought."""
    shown: dict[str, Any] = {"checkout": update.path, "branch": update.branch, "commit": _moved(update)}
    shown["commits"] = "\n".join(f"{each.id[:_SHOWN]}  {each.subject}" for each in update.commits)
    shown["files"] = _files(update.files)
    shown["submodules"] = "\n".join(f"{each.path}  {each.commit[:_SHOWN]}" for each in update.submodules)
    shown["discarded"] = _files(update.discarded)
    output.facts(update, shown)


def status_line(status: GitStatus) -> str:
    """Return it in one line, for where several hosts are asked."""
    where = f"{status.branch or 'detached'} at {status.commit[:_SHOWN]}"
    odd = [each for each in status.submodules if each.state is not SubmoduleState.CURRENT]
    facts = [
        where,
        _distance(status) or "",
        f"{counted(len(status.changes), 'file')} changed" if status.changes else "clean",
    ]
    return ", ".join(fact for fact in (*facts, f"{counted(len(odd), 'submodule')} not current" if odd else "") if fact)


def update_line(update: GitUpdate) -> str:
    """Return it in one line."""
    threw = f", {counted(len(update.discarded), 'local change')} thrown away" if update.discarded else ""
    return f"{update.branch}: {_moved(update)}{threw}"


def _moved(update: GitUpdate) -> str:
    if update.before == update.after:
        return f"{update.after[:_SHOWN]}, as before"
    count = f"{counted(len(update.commits), 'commit')}, {counted(len(update.files), 'file')}"
    return f"{update.before[:_SHOWN] or 'nothing'} → {update.after[:_SHOWN]} ({count})"


def _distance(status: GitStatus) -> str | None:
    if not status.upstream:
        return None
    return f"{status.ahead} ahead, {status.behind} behind, as of the last fetch"


def _files(changes: tuple[GitChange, ...]) -> str:
    return "\n".join(f"{change.state.value.ljust(9)}  {change.path}" for change in changes)
