"""Look at the host's checkout, and bring it to what its remote has: by fast-forward, or by force when told to."""

import contextlib
import os
import pwd
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rbee.adapters.git_checkout import refusals
from rbee.adapters.threads import in_thread_of
from rbee.wire.git import ChangeState, GitStatus, GitSubmodule, GitUpdate, SubmoduleState

if TYPE_CHECKING:
    import git

T = TypeVar("T")
GIT_S = 600.0
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="git")
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10",
    "LC_ALL": "C",
    "GIT_EDITOR": "true",
}
"""Nobody can be asked anything, and git is to speak the language that ``refusals`` reads."""


class GitCheckout:
    """The checkout at ``path``; None where none is configured."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._changing = threading.Lock()

    async def status(self) -> GitStatus:
        """Return how it stands, without asking its remote. Raises NotFound, NotPermitted."""
        return await self._with("status", _status)

    async def submodules(self) -> tuple[GitSubmodule, ...]:
        from rbee.adapters.git_checkout import reading  # noqa: PLC0415

        return await self._with("submodules", reading.submodules)

    async def pull(self) -> GitUpdate:
        """Fast-forward to the branch it follows, submodules with it. What it cannot do it leaves as it was.

        Raises:
            Conflict: local changes, a diverged branch, a detached head, nothing to follow, another git at work.
            NotFound, NotPermitted, PoolUnreachable, Timeout: as git says.
        """
        return await self._alone("pull", _pull)

    async def sync(self, discard: bool) -> GitUpdate:
        """Make it what the branch it follows is.

        Raises:
            Conflict: something of its own would be lost and ``discard`` is not set; or as ``pull``.
        """
        return await self._alone("sync --yes" if discard else "sync", lambda repo: _sync(repo, discard=discard))

    async def _with(self, verb: str, work: "Callable[[git.Repo], T]") -> T:
        return await in_thread_of(_THREADS, lambda: self._open_and(f"rbee-hive git {verb}", work))

    async def _alone(self, verb: str, work: "Callable[[git.Repo], T]") -> T:
        """Do what changes the checkout, unless that is being done: its remote may be keeping somebody waiting."""
        if not self._changing.acquire(blocking=False):
            raise refusals.at_work(str(self._path))
        try:
            return await self._with(verb, work)
        finally:
            self._changing.release()

    def _open_and(self, asked: str, work: "Callable[[git.Repo], T]") -> T:
        if self._path is None:
            raise refusals.not_configured()
        path = str(self._path)
        if shutil.which("git") is None:
            raise refusals.no_git()
        import git  # noqa: PLC0415  (0.1 s, and it looks for the program at once)
        from git.exc import GitCommandError, InvalidGitRepositoryError, NoSuchPathError  # noqa: PLC0415

        from rbee.adapters.git_checkout import reading  # noqa: PLC0415

        try:
            with git.Repo(path) as repo:
                repo.git.update_environment(**_QUIET)
                _check_usable(repo, path, asked)
                return work(repo)
        except (InvalidGitRepositoryError, NoSuchPathError):
            raise refusals.not_a_checkout(path) from None
        except GitCommandError as error:
            if "Timeout" in str(error.stderr):
                raise refusals.timed_out(path, GIT_S) from None
            raise refusals.explained(path, reading.said(error), asked=asked) from None
        except PermissionError as error:
            raise refusals.explained(path, f"permission denied: {error.filename}", asked=asked) from None


def _check_usable(repo: "git.Repo", path: str, asked: str) -> None:
    if repo.bare:
        raise refusals.bare(path)
    owner = Path(path).stat().st_uid
    if owner != os.geteuid():
        raise refusals.not_ours(path, _name(owner), _name(os.geteuid()), asked)


def _status(repo: "git.Repo") -> GitStatus:
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    detached, upstream = repo.head.is_detached, _upstream(repo)
    remote = next((reading.harmless(remote.url) for remote in repo.remotes), "")
    known = upstream and _has(repo, upstream)
    ahead, behind = reading.ahead_behind(repo, upstream) if known else (0, 0)
    return GitStatus(
        path=_path(repo),
        branch="" if detached else repo.active_branch.name,
        commit=reading.commit(repo),
        detached=detached,
        remote=remote,
        upstream=upstream,
        ahead=ahead,
        behind=behind,
        changes=reading.changes(repo),
        submodules=reading.submodules(repo),
    )


def _pull(repo: "git.Repo") -> GitUpdate:
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    upstream = _followed(repo)
    local = [change for change in reading.changes(repo) if change.state is not ChangeState.UNTRACKED]
    if local:
        raise refusals.dirty(_path(repo), reading.paths(local))
    _fetch(repo, upstream)
    ahead, behind = reading.ahead_behind(repo, upstream)
    if ahead and behind:
        raise refusals.diverged(_path(repo), repo.active_branch.name, upstream, ahead, behind)
    with _undone(repo) as before:
        repo.git.merge("--ff-only", upstream, kill_after_timeout=GIT_S)
        moved = _update_submodules(repo)
    return _update(repo, before, moved)


def _sync(repo: "git.Repo", *, discard: bool) -> GitUpdate:
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    upstream = _followed(repo)
    local = reading.changes(repo)
    inner = [f"{module.path}" for module in reading.submodules(repo) if module.state is SubmoduleState.MODIFIED]
    _fetch(repo, upstream)
    ahead, _ = reading.ahead_behind(repo, upstream)
    if not discard and (local or inner or ahead):
        raise refusals.would_discard(_path(repo), list(dict.fromkeys([*reading.paths(local), *inner])), ahead)
    before = reading.commit(repo)
    repo.git.reset("--hard", upstream, kill_after_timeout=GIT_S)
    repo.git.clean("-d", "--force", "--force", kill_after_timeout=GIT_S)  # twice: repositories as well
    moved = _update_submodules(repo, force=True)
    update = _update(repo, before, moved)
    return GitUpdate(**{**{key: getattr(update, key) for key in update.__slots__}, "discarded": local})


def _followed(repo: "git.Repo") -> str:
    """Return the branch that ours follows; refuse where there is none, or something is unfinished."""
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    path = _path(repo)
    if doing := reading.in_the_middle_of(repo):
        raise refusals.busy(path, doing)
    if repo.head.is_detached:
        raise refusals.detached(path, repo.head.commit.hexsha, [branch.name for branch in repo.branches])
    upstream = _upstream(repo)
    if not upstream or not repo.remotes:
        raise refusals.no_upstream(path, repo.active_branch.name, [remote.name for remote in repo.remotes])
    return upstream


def _fetch(repo: "git.Repo", upstream: str) -> None:
    remote = repo.active_branch.tracking_branch()
    name = remote.remote_name if remote is not None else repo.remotes[0].name
    repo.git.fetch("--prune", "--no-recurse-submodules", name, kill_after_timeout=GIT_S)
    if not _has(repo, upstream):
        raise refusals.upstream_gone(_path(repo), upstream)


def _update_submodules(repo: "git.Repo", *, force: bool = False) -> tuple[GitSubmodule, ...]:
    """Bring them to what the checkout asks for, also where their URL has changed; return those that moved."""
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    if not (Path(_path(repo)) / ".gitmodules").exists():
        return ()
    before = {module.id: module.commit for module in reading.submodules(repo)}
    repo.git.submodule("sync", "--recursive", kill_after_timeout=GIT_S)
    if force:
        repo.git.submodule("foreach", "--recursive", "git reset --quiet --hard && git clean --quiet -d --force --force")
    options = ["--force"] if force else []
    repo.git.submodule("update", "--init", "--recursive", *options, kill_after_timeout=GIT_S)
    return tuple(module for module in reading.submodules(repo) if before.get(module.id) != module.commit)


@contextlib.contextmanager
def _undone(repo: "git.Repo") -> "Iterator[str]":
    """Give the commit there is, if there is one; when what follows fails, go back to it."""
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    before = reading.commit(repo)
    try:
        yield before
    except BaseException:
        if not before and repo.head.is_valid():
            repo.git.read_tree("-u", "--reset", reading.empty_tree(repo))
            repo.git.update_ref("-d", "HEAD")
        elif reading.commit(repo) != before:
            repo.git.reset("--keep", before)
            with contextlib.suppress(Exception):
                repo.git.submodule("update", "--recursive")
        raise


def _update(repo: "git.Repo", before: str, moved: tuple[GitSubmodule, ...]) -> GitUpdate:
    from rbee.adapters.git_checkout import reading  # noqa: PLC0415

    after = repo.head.commit.hexsha
    return GitUpdate(
        path=_path(repo),
        branch=repo.active_branch.name,
        before=before,
        after=after,
        commits=reading.commits_between(repo, before, after),
        files=reading.files_between(repo, before, after),
        submodules=moved,
    )


def _upstream(repo: "git.Repo") -> str:
    if repo.head.is_detached:
        return ""
    tracking = repo.active_branch.tracking_branch()
    return tracking.path.removeprefix("refs/remotes/") if tracking is not None else ""


def _has(repo: "git.Repo", ref: str) -> bool:
    return any(f"{remote.name}/" in ref and ref in [str(each) for each in remote.refs] for remote in repo.remotes)


def _path(repo: "git.Repo") -> str:
    return str(repo.working_tree_dir or repo.git_dir)


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
