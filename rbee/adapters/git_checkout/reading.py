"""What a checkout is like: its branch, its changes, its submodules. Blocks; call it in a thread."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import git
from git.exc import GitCommandError

from rbee.wire.git import ChangeState, GitChange, GitCommit, GitSubmodule, SubmoduleState

COMMITS_MOST = 100
_STATES = {
    "M": ChangeState.MODIFIED,
    "T": ChangeState.MODIFIED,
    "A": ChangeState.ADDED,
    "C": ChangeState.ADDED,
    "D": ChangeState.DELETED,
    "R": ChangeState.RENAMED,
    "U": ChangeState.CONFLICTED,
}


def changes(repo: git.Repo) -> tuple[GitChange, ...]:
    """Return what differs from the commit, untracked files that are not ignored included."""
    return tuple(porcelain(repo.git.status("--porcelain=v2", "-z", "--untracked-files=all")))


def porcelain(text: str) -> list[GitChange]:
    """Return the changes in the output of ``git status --porcelain=v2 -z`` (git-status(1))."""
    found, fields = [], iter(readable(text).split("\0"))
    for field in fields:
        match field[:1]:
            case "1":
                found.append(_change(field.split(" ", 8)[8], field[2:4]))
            case "2":
                found.append(GitChange(path=field.split(" ", 9)[9], state=ChangeState.RENAMED))
                next(fields, None)  # where it was
            case "u":
                found.append(GitChange(path=field.split(" ", 10)[10], state=ChangeState.CONFLICTED))
            case "?":
                found.append(GitChange(path=field[2:], state=ChangeState.UNTRACKED))
    return found


def files_between(repo: git.Repo, before: str, after: str) -> tuple[GitChange, ...]:
    """Return which files differ between two commits; ``before`` may be nothing."""
    since = before or empty_tree(repo)
    fields = readable(repo.git.diff("--name-status", "-z", "--no-renames", since, after)).split("\0")
    pairs = zip(fields[::2], fields[1::2], strict=False)
    return tuple(GitChange(path=path, state=_STATES.get(letter[:1], ChangeState.MODIFIED)) for letter, path in pairs)


def commits_between(repo: git.Repo, before: str, after: str) -> tuple[GitCommit, ...]:
    """Return the commits that came, newest first, a hundred at most; ``before`` may be nothing."""
    which = f"{before}..{after}" if before else after
    text = readable(repo.git.log("-z", f"--max-count={COMMITS_MOST}", "--format=%H%n%an%n%ct%n%s", which))
    rows = [(*row.split("\n", 3), "")[:4] for row in text.split("\0") if row]  # GitPython takes a last end of line
    return tuple(
        GitCommit(id=name, author=author, at_ms=int(at) * 1000, subject=subject) for name, author, at, subject in rows
    )


def commit(repo: git.Repo) -> str:
    """Return what is checked out; nothing in a clone of what was empty then."""
    return repo.head.commit.hexsha if repo.head.is_valid() else ""


def empty_tree(repo: git.Repo) -> str:
    return str(repo.git.hash_object("-t", "tree", "/dev/null"))


def readable(text: str) -> str:
    """Return what git said as text that can be sent: names of files may be any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def submodules(repo: git.Repo) -> tuple[GitSubmodule, ...]:
    """Return the checkout's own submodules; what is below them moves with them."""
    return tuple(_submodule(each) for each in repo.submodules)


def harmless(url: str) -> str:
    """Return a remote's URL without what logs a person in."""
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def ahead_behind(repo: git.Repo, upstream: str) -> tuple[int, int]:
    """Return how many commits each side has that the other has not."""
    if not repo.head.is_valid():
        return 0, int(repo.git.rev_list("--count", upstream))
    left, right = repo.git.rev_list("--left-right", "--count", f"HEAD...{upstream}").split()
    return int(left), int(right)


def in_the_middle_of(repo: git.Repo) -> str:
    """Return ``merge`` or ``rebase`` while one is not finished, else nothing."""
    marks_of = {
        "merge": ("MERGE_HEAD",),
        "rebase": ("rebase-merge", "rebase-apply"),
        "cherry-pick": ("CHERRY_PICK_HEAD",),
    }
    for doing, marks in marks_of.items():
        if any(Path(str(repo.git_dir), mark).exists() for mark in marks):
            return doing
    return ""


def paths(found: Sequence[GitChange]) -> list[str]:
    return [change.path for change in found]


def _change(path: str, xy: str) -> GitChange:
    letter = next((letter for letter in xy if letter != "."), "M")
    return GitChange(path=path, state=_STATES.get(letter, ChangeState.MODIFIED))


def _submodule(module: Any) -> GitSubmodule:
    wanted, current, state = str(module.hexsha), "", SubmoduleState.MISSING
    with contextlib.suppress(Exception):  # whatever is wrong with it, it is not there to be used
        inner = module.module()
        current = inner.head.commit.hexsha
        dirty = bool(changes(inner))
        state = SubmoduleState.CURRENT if current == wanted else SubmoduleState.DIFFERS
        state = SubmoduleState.MODIFIED if dirty else state
    url = harmless(str(module.url or ""))
    return GitSubmodule(
        id=readable(str(module.name)),
        path=readable(str(module.path)),
        url=url,
        commit=current,
        wanted_commit=wanted,
        state=state,
    )


def said(error: GitCommandError) -> str:
    """Return what git printed on standard error, without GitPython's wrapping."""
    text = str(error.stderr or "") or str(error)
    return re.sub(r"^\s*stderr: '?", "", readable(text)).strip().removesuffix("'")
