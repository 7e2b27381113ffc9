"""How many of our jobs each worker has, those among them that are being stored."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from rbee.orchestrator_core.rates import Size, size_of
from rbee.orchestrator_core.view import Key
from rbee.queen.newcomer import Newcomer


class Slots:
    """``taken`` has no zeros."""

    def __init__(self) -> None:
        self.taken: Counter[Key] = Counter()
        self._coming: dict[str, tuple[Key, Size]] = {}

    def take(self, key: Key) -> None:
        self.taken[key] += 1

    def let_go(self, key: Key) -> None:
        self.taken[key] -= 1
        if not self.taken[key]:
            del self.taken[key]

    @contextlib.contextmanager
    def kept_for(self, newcomer: Newcomer, key: Key) -> Iterator[None]:
        """Keep a slot for a job that is being stored."""
        self.take(key)
        self._coming[newcomer.id] = (key, size_of(newcomer.spec))
        try:
            yield
        finally:
            del self._coming[newcomer.id]
            self.let_go(key)

    def coming(self, key: Key) -> list[Size]:
        """Return how much each job is that is being stored for a worker."""
        return [size for where, size in self._coming.values() if where == key]
