"""The host's checkout: what it is on, what is changed in it, and what an update brought."""

from dataclasses import dataclass
from enum import StrEnum

from rbee.wire.fields import plain


class ChangeState(StrEnum):
    MODIFIED = "modified"
    ADDED = "added"
    DELETED = "deleted"
    RENAMED = "renamed"
    UNTRACKED = "untracked"
    CONFLICTED = "conflicted"


class SubmoduleState(StrEnum):
    CURRENT = "current"
    DIFFERS = "differs"
    MODIFIED = "modified"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitChange:
    path: str
    state: ChangeState


@dataclass(frozen=True, slots=True, kw_only=True)
class GitCommit:
    id: str
    subject: str
    author: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSubmodule:
    """``commit`` is what is checked out, empty when nothing is; ``wanted_commit`` is what the checkout asks for."""

    id: str
    path: str
    url: str = ""
    commit: str = ""
    wanted_commit: str = ""
    state: SubmoduleState = SubmoduleState.CURRENT


@dataclass(frozen=True, slots=True, kw_only=True)
class GitStatus:
    """``ahead`` and ``behind`` are commits, as of the last fetch."""

    path: str
    branch: str = plain("", doc="empty: detached")
    commit: str = ""
    detached: bool = False
    remote: str = plain("", doc="URL, without credentials")
    upstream: str = ""
    ahead: int = 0
    behind: int = 0
    changes: tuple[GitChange, ...] = ()
    submodules: tuple[GitSubmodule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GitUpdate:
    """What a pull or a sync did. ``commits`` are the newest hundred of those that came."""

    path: str
    branch: str
    before: str = plain(doc="empty: it was a clone of nothing")
    after: str
    commits: tuple[GitCommit, ...] = ()
    files: tuple[GitChange, ...] = ()
    submodules: tuple[GitSubmodule, ...] = plain((), doc="those that moved")
    discarded: tuple[GitChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSyncSpec:
    discard: bool = plain(False, doc="throw local changes and commits away")
