"""Worker ids and the names of their units.

``worker-cpu-0``, as the pool names workers, has the unit ``rbee-worker-cpu-0``; ``big``, as a person might, has
``rbee-worker-big``. So ``cpu-0`` would take the unit of ``worker-cpu-0``: such an id is refused. ``worker-big`` and
``big`` share a unit, too; there systemd decides who was first, and the unit's ``ExecStart`` says who it is.
"""

import re
from collections.abc import Iterable, Iterator

from rbee.errors import InvalidRequest
from rbee.wire.fields import NAME
from rbee.wire.workers import Backend

UNIT_PATTERN = "rbee-worker-*"
SLICE = "rbee-workers.slice"
_BARE = re.compile(rf"({'|'.join(Backend)})-\d+")
_UNIT_TYPES = re.compile(r".*\.(service|socket|slice|scope|target|mount|automount|swap|path|timer|device)")


def check(worker: str) -> str:
    """Return ``worker`` when it can be a worker's id.

    Raises:
        InvalidRequest: it has other characters than a name's, ends like a unit, or belongs to a default id.
    """
    if not NAME.fullmatch(worker):
        raise InvalidRequest(f"worker id is {worker[:80]!r}, expected it to match {NAME.pattern}")
    if _UNIT_TYPES.fullmatch(worker):
        raise InvalidRequest(f"worker id is {worker!r}, which ends like a unit", hint="leave the ending out")
    if _BARE.fullmatch(worker):
        raise InvalidRequest(
            f"worker id is {worker!r}, whose unit would be that of worker-{worker}", hint=f"call it worker-{worker}"
        )
    return worker


def stem(worker: str) -> str:
    """Return the name of the worker's units without their ending."""
    return f"rbee-{worker}" if worker.startswith("worker-") else f"rbee-worker-{worker}"


def service(worker: str) -> str:
    """Return the name of the worker's service unit."""
    return f"{stem(worker)}.service"


def socket(worker: str) -> str:
    """Return the name of the worker's socket unit."""
    return f"{stem(worker)}.socket"


def free_ids(backend: str, taken: Iterable[str]) -> Iterator[str]:
    """Yield ``worker-cpu-0``, ``worker-cpu-1``, …, without those that are taken. Endless."""
    known, number = set(taken), 0
    while True:
        if (worker := f"worker-{backend}-{number}") not in known:
            yield worker
        number += 1
