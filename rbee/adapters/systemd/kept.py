"""What workers leave on disk of their conversations while they sleep.

systemd owns the folders (CacheDirectory=), and removes one when the worker's socket goes (``unit.socket_properties``).
What a crash of the host leaves goes at boot (rbee.tmpfiles), in a user's manager before the next worker (``sweep``).
"""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from rbee.errors import RbeeError
from rbee.pool_core import names
from rbee.pool_core.unit import Mode, Place

_PREFIX = "rbee-worker-"
_NOT_REMOVED = frozenset({"exit-code", "signal", "core-dump", "timeout"})  # of what a socket runs when it stops


def folder(mode: Mode, environ: Mapping[str, str]) -> Path:
    """Return where the manager makes those folders."""
    if mode is Mode.SYSTEM:
        return Path("/var/cache")
    return Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/")) / ".cache")


def require_removed(worker: str, place: Place, result: str) -> None:
    """
    Args:
        result: what systemd says of the socket that was stopped.

    Raises:
        RbeeError: what the worker kept is still there.
    """
    if result in _NOT_REMOVED:
        left = Path(place.cache, *(["private"] if place.mode is Mode.SYSTEM else []), names.stem(worker))
        raise RbeeError(
            f"worker {worker} is stopped, but systemd could not remove the conversations it kept in {left}: {result}",
            hint=f"rm -r {left}",
            details={"folder": str(left), "result": result},
        )


def sweep(base: Path, workers: Collection[str]) -> None:
    """Remove what is left of workers that are no more; for a user's manager, whose files are all one's own."""
    there = {names.stem(worker) for worker in workers}
    for left in base.glob(f"{_PREFIX}*"):
        if left.name not in there and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
