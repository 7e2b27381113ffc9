"""Our own unit, as systemd has it: why are we being stopped?"""

import asyncio
import contextlib

from rbee.adapters.systemd.bus import MANAGER, MANAGER_PATH, SYSTEMD, UNIT, Bus
from rbee.errors import RbeeError
from rbee.pool_core.unit import Mode
from rbee.wire.draining import DrainReason

_JOB = SYSTEMD + b".Job"


async def why_stopped(mode: Mode) -> DrainReason | None:
    """Return why this process, which was told to end, is stopped for good; None where it will be there again.

    It will when its unit is being restarted, and when no job of systemd's asked for its end, as with kill(1). So it
    is said where nobody can be asked: to be taken for a restart costs nothing.
    """
    with contextlib.suppress(RbeeError):
        return await asyncio.to_thread(_why_stopped, mode)
    return None


def _why_stopped(mode: Mode) -> DrainReason | None:
    with Bus(mode) as bus:
        unit = bus.call(b"GetUnitByPID", b"u", 0)
        number, job = bus.get(unit, UNIT, b"Job")
        if not number or bus.get(job, _JOB, b"JobType") != b"stop":
            return None
    with Bus(Mode.SYSTEM) as bus:
        going = bus.get(MANAGER_PATH, MANAGER, b"SystemState") == b"stopping"
    return DrainReason.SHUTDOWN if going else DrainReason.STOP
