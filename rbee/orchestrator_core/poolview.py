"""A pool as the queen knows it at one moment."""

from dataclasses import dataclass

from rbee.wire.pools import PoolSnapshot, PoolState
from rbee.wire.workers import WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """A pool at one moment. ``snapshot`` holds no secrets and is None before the first heartbeat."""

    id: str
    state: PoolState
    url: str
    version: str = ""
    age_s: float | None = None
    snapshot: PoolSnapshot | None = None

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        return self.snapshot.workers if self.snapshot else ()

    def worker(self, worker: str) -> WorkerStatus | None:
        return next((found for found in self.workers if found.id == worker), None)
