"""A pool as the queen knows it at one moment."""

from dataclasses import dataclass

from rbee.wire.draining import LEAVING, DrainReason, why_draining, why_silent
from rbee.wire.pools import PoolSnapshot, PoolState
from rbee.wire.workers import WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """A pool at one moment. ``snapshot`` holds no secrets and is None before the first heartbeat.

    Args:
        drained: the operator told the queen so; what the pool itself says is in its snapshot.
    """

    id: str
    state: PoolState
    url: str
    version: str = ""
    age_s: float | None = None
    snapshot: PoolSnapshot | None = None
    drained: bool = False

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        return self.snapshot.workers if self.snapshot else ()

    def worker(self, worker: str) -> WorkerStatus | None:
        return next((found for found in self.workers if found.id == worker), None)

    @property
    def drain_reason(self) -> DrainReason | None:
        """Return why it takes no work, as it was last heard: what befalls its host before what its operator wants."""
        told = self.snapshot.drain_reason if self.snapshot and self.snapshot.draining else None
        if told is not None and told is not DrainReason.OPERATOR:
            return told
        drains = self.drained or (self.snapshot is not None and self.snapshot.draining)
        return DrainReason.OPERATOR if drains else None

    @property
    def left(self) -> bool:
        """Whether it said that it would fall silent."""
        return self.drain_reason in LEAVING

    @property
    def stays_away(self) -> bool:
        """Whether it is to be left in peace: it is about to go, or its service was stopped."""
        return self.left and (self.drain_reason is DrainReason.STOP or self.state is not PoolState.LOST)

    @property
    def why(self) -> str:
        """Return why it takes no work, as a clause; empty where that is not known."""
        reason = self.drain_reason
        if reason is None:
            return ""
        return why_silent(reason) if self.state is PoolState.LOST else why_draining(reason)

    @property
    def condition(self) -> str:
        """Return its state, and why: ``draining: its host is shutting down``."""
        return f"{self.state}: {self.why}" if self.why else str(self.state)
