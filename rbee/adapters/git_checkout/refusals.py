"""What git says when it refuses, as the error an operator gets. Pure; the wordings are those of git 2.30 to 2.47."""

import re
import shlex
from collections.abc import Callable, Sequence

from rbee.errors import Conflict, NotFound, NotPermitted, PoolUnreachable, RbeeError, Timeout
from rbee.wire.words import counted

_SHOWN = 5


def in_git(path: str, *words: str) -> str:
    """Return what a person would type to have git do something there."""
    return f"git -C {shlex.quote(path)} {shlex.join(words)}"


def not_a_checkout(path: str) -> NotFound:
    return NotFound(f"{path} is no git checkout", hint=f"git clone URL {shlex.quote(path)}, or correct [pool] repo")


def bare(path: str) -> Conflict:
    return Conflict(f"{path} is a bare repository, and has no files to update", hint="clone it, and name the clone")


def not_configured() -> NotFound:
    return NotFound(
        "no checkout is configured on this host",
        hint='set [pool] repo = "/path" in rbee.toml, then: systemctl reload rbee-pool',
    )


def dirty(path: str, files: Sequence[str]) -> Conflict:
    return Conflict(
        f"{path} has local changes in {shown(files)}",
        hint=f"{in_git(path, 'stash')}, or throw them away: rbee-hive git sync --yes",
        details={"files": list(files)},
    )


def would_discard(path: str, files: Sequence[str], commits: int) -> Conflict:
    what = [f"changes in {shown(files)}"] if files else []
    what += [counted(commits, "local commit")] if commits else []
    return Conflict(
        f"a sync of {path} would throw away {' and '.join(what)}",
        hint="rbee-hive git sync --yes",
        details={"files": list(files), "commits": commits},
    )


def diverged(path: str, branch: str, upstream: str, ahead: int, behind: int) -> Conflict:
    return Conflict(
        f"{branch} in {path} has diverged from {upstream}: {ahead} commits ahead, {behind} behind",
        hint=f"{in_git(path, 'rebase', upstream)}, or throw the {ahead} away: rbee-hive git sync --yes",
        details={"ahead": ahead, "behind": behind},
    )


def detached(path: str, commit: str, branches: Sequence[str]) -> Conflict:
    branch = next((name for name in ("main", "master") if name in branches), next(iter(branches), None))
    return Conflict(
        f"{path} is at {commit[:12]}, on no branch (detached head), so there is nothing to pull",
        hint=in_git(path, "switch", branch) if branch else in_git(path, "branch", "--all"),
    )


def no_upstream(path: str, branch: str, remotes: Sequence[str]) -> Conflict:
    if not remotes:
        return Conflict(f"{path} has no remote to pull from", hint=in_git(path, "remote", "add", "origin", "URL"))
    return Conflict(
        f"branch {branch} in {path} follows no branch of {remotes[0]}",
        hint=in_git(path, "branch", f"--set-upstream-to={remotes[0]}/{branch}"),
    )


def upstream_gone(path: str, upstream: str) -> NotFound:
    return NotFound(f"{upstream}, which {path} follows, is not at the remote", hint=in_git(path, "branch", "--remotes"))


def at_work(path: str) -> Conflict:
    return Conflict(f"another pull or sync of {path} is at work", hint="pgrep -af git; its remote may not answer")


def busy(path: str, doing: str) -> Conflict:
    return Conflict(f"{path} is in the middle of a {doing}", hint=in_git(path, doing, "--abort"))


def not_ours(path: str, owner: str, us: str, asked: str) -> NotPermitted:
    return NotPermitted(f"{path} belongs to {owner}, and this runs as {us}", hint=f"sudo {asked}")


def explained(path: str, said: str, *, asked: str) -> RbeeError:
    """Return the error for what git printed.

    Args:
        asked: the command that wanted it, as it is typed on this host.
    """
    if "read-only file system" in said.lower():
        # Of the daemon's sandbox, or of the machine.
        return NotPermitted(
            f"{path} may not be written: {_last(said)}",
            hint=f"sudo {asked}; if that says the same: findmnt --target {shlex.quote(path)}",
        )
    for pattern, make in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            return make(path, _last(said))
    return Conflict(f"git in {path}: {_last(said)}", hint=in_git(path, "status"))


def _away(path: str, said: str) -> RbeeError:
    return PoolUnreachable(f"the remote of {path} cannot be reached: {said}", hint=in_git(path, "remote", "--verbose"))


def _password(path: str, said: str) -> RbeeError:
    return NotPermitted(
        f"the remote of {path} wants to know who we are, and nobody can be asked: {said}",
        hint="give this user an ssh key or a credential helper that needs no questions",
    )


def _locked(path: str, _: str) -> RbeeError:
    return Conflict(
        f"another git is at work in {path}", hint=f"wait for it; if there is none: rm {path}/.git/index.lock"
    )


def _owner(path: str, _: str) -> RbeeError:
    return NotPermitted(
        f"{path} belongs to another user, and git does not trust it", hint=f"act as its owner: ls -ld {path}"
    )


def _denied(path: str, said: str) -> RbeeError:
    quoted = shlex.quote(path)
    return NotPermitted(
        f"something in {path} is another user's: {said}",
        hint=f'sudo chown -R "$(stat -c %U {quoted})" {quoted}',
    )


def _overwritten(path: str, said: str) -> RbeeError:
    return Conflict(f"an update of {path} would overwrite local files: {said}", hint=in_git(path, "status"))


Make = Callable[[str, str], RbeeError]
_MEANINGS: tuple[tuple[str, Make], ...] = (
    (r"dubious ownership", _owner),
    (r"index\.lock|cannot lock ref|unable to create '.*\.lock'", _locked),
    (r"would be overwritten", _overwritten),
    (r"permission denied(?! \()|insufficient permission", _denied),
    (r"permission denied \(|could not read (username|password)|terminal prompts disabled|authentication failed"
     r"|host key verification failed", _password),
    (r"could not resolve|connection (refused|timed out|closed)|unable to access|does not appear to be a git repository"
     r"|could not read from remote|repository '.*' (not found|does not exist)|no such (device|host)|not found: did you",
     _away),
)  # fmt: skip


def timed_out(path: str, seconds: float) -> Timeout:
    return Timeout(f"git in {path} took longer than {seconds:g} s", hint=in_git(path, "fetch"))


def no_git() -> NotFound:
    return NotFound("git is not installed", hint="install the package that brings git")


def shown(files: Sequence[str]) -> str:
    """Return some of the names, and how many more there are."""
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(files[:_SHOWN]) + more


def _last(said: str) -> str:
    lines = [line.strip() for line in said.strip().strip("'").splitlines() if line.strip(" '")]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (telling or lines or ["it said nothing"])[0].removeprefix("fatal: ").removeprefix("error: ")
