"""May a job go on at another pool than its own?"""

from rbee.orchestrator_core.view import is_open
from rbee.queen.job import Job
from rbee.queen.pools import Pools
from rbee.wire.jobs import Placement


def can_go_on_elsewhere(job: Job, pool: str, pools: Pools) -> bool:
    """Say whether another pool that takes work has the model, and the job is not bound to ``pool``."""
    if not job.resumable or job.spec.placement.pool is not None:
        return False
    fleet = pools.fleet()
    having = fleet.files(fleet.names.canonical(job.spec.model))
    return any(other.id != pool and is_open(other, Placement()) for other, _ in having)
