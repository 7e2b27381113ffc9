"""What is made so that what runs equals what rbee.toml declares: the steps, and what came of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rbee.wire.fields import plain


class SyncAction(StrEnum):
    FETCH = "fetch"
    STOP = "stop"
    REPLACE = "replace"
    START = "start"
    KEEP = "keep"


class SyncState(StrEnum):
    PLANNED = "planned"
    DONE = "done"
    WAITS = "waits"  # for a worker to finish or to fall asleep; the next sync goes on
    KEPT = "kept"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSpec:
    dry_run: bool = plain(False, doc="tell the steps, and take none")
    prune: bool = plain(False, doc="also stop workers that somebody else than rbee.toml asked for")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStep:
    """One step: of ``fetch`` the id is a model's, of all others a worker's."""

    id: str
    action: SyncAction
    state: SyncState = SyncState.PLANNED
    why: str = plain("", doc="as a clause")
    error: Mapping[str, Any] | None = plain(None, doc="why it failed, or would: what an error body has in error")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """All steps; a step that failed did not keep the others from being taken."""

    steps: tuple[SyncStep, ...] = ()
    unchanged: tuple[str, ...] = plain((), doc="declared workers that are as declared")
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncEvent:
    """POST /v2/sync as a stream: ``progress`` events, then one ``done`` with the outcome.

    ``step`` is the one it is about, as it stands now.
    """

    state: str
    message: str = ""
    progress: float | None = None
    step: SyncStep | None = None
    outcome: SyncOutcome | None = None
