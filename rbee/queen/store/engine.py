"""What kinds of database have to agree on, so that jobs, events and pools need not know which one they are in."""

from contextlib import AbstractContextManager
from typing import Protocol


class Engine(Protocol):
    """A database as the store uses it. All but ``name``, ``hint`` and ``deposed`` is called by the database's threads.

    Attributes:
        name: what it is called where it is in trouble.
        hint: what to do about trouble, as a clause.
        writes_go_on: while ``checkpoint`` runs; where they cannot, the writer runs it.
    """

    name: str
    hint: str
    writes_go_on: bool

    def open(self) -> list[str]:
        """Take the database for this queen alone, on the thread that will write; return the migrations applied.

        Raises:
            Conflict: another queen has it.
            ConfigInvalid: it cannot be opened, is none of ours, or a newer rbee wrote it.
        """

    def close(self) -> None:
        """Let it go, on the thread that opened it."""

    def reading(self) -> AbstractContextManager[None]:
        """Give a reading thread a connection that works, for one question."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is done within, or nothing of it."""

    def sync(self) -> None:
        """Return once whatever was committed outlives a loss of power; called on any thread, while others write.

        Raises:
            OSError: the disk does not take it.
        """

    def checkpoint(self) -> None:
        """See to it that what was erased is nowhere any more; outside of a transaction."""

    def deposed(self) -> str | None:
        """Return why this queen may no longer write here, though she had it once."""
