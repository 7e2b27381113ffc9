"""Where a model that somebody wants should lie."""

from collections.abc import Sequence

from rbee.errors import NoCapacity
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.poolview import PoolView
from rbee.wire.pools import PoolState


def home_of(model: str, pools: Sequence[PoolView], names: Names) -> str:
    """Return the pool that has ``model``, or else the one with most room on its disk.

    Raises:
        NoCapacity: none takes anything now.
    """
    ready = [(pool.id, pool.snapshot) for pool in pools if pool.state is PoolState.READY and pool.snapshot is not None]
    if not ready:
        raise NoCapacity("no pool is there to keep a model", hint="rbee-keeper pool list")
    having = [pool for pool, snapshot in ready if names.file_of(model, snapshot.models) is not None]
    return having[0] if having else max(ready, key=lambda one: one[1].host.disk_free_bytes)[0]
