"""What workers leave on disk of their conversations while they sleep.

systemd owns the folders (CacheDirectory=), and removes one when the worker's socket goes (``unit.socket_properties``).
What a crash of the host leaves goes at boot (rbee.tmpfiles), in a user's manager before the next worker (``sweep``).
"""

import contextlib
import os
import shlex
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from rbee.adapters.systemd.bus import MANAGER, MANAGER_PATH, SYSTEMD, Bus, Peer
from rbee.errors import RbeeError
from rbee.pool_core import names
from rbee.pool_core.unit import Mode, Place, kept_folder

_DBUS = Peer(b"org.freedesktop.DBus", b"/org/freedesktop/DBus", b"org.freedesktop.DBus")
_NOT_REMOVED = frozenset({"exit-code", "signal", "core-dump", "timeout"})  # of what a socket runs when it stops


def folder(mode: Mode, environ: Mapping[str, str]) -> Path:
    """Return where the manager makes those folders: a user's one below what its own environment says, not ``environ``.

    That is taken only where no manager tells.
    """
    if mode is Mode.SYSTEM:
        return Path("/var/cache")
    return _cache_home(_of_manager() or environ)


def _cache_home(environ: Mapping[str, str]) -> Path:
    """Return what systemd takes for it: what is not absolute counts for nothing."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path(environ.get("HOME", "/")) / ".cache"


def _of_manager() -> dict[str, str]:
    """Return the environment that the user's manager was started with; empty where nobody tells.

    Its D-Bus property says what its units get, to which environment.d(5) and ``set-environment`` add, and by that it
    does not go itself; but where the process may not be looked into (it has capabilities) that is the best there is.
    """
    with contextlib.suppress(RbeeError), Bus(Mode.USER) as bus:
        pid = bus.ask(_DBUS, b"GetConnectionUnixProcessID", b"s", SYSTEMD)
        with contextlib.suppress(OSError):
            return _pairs(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
        return _pairs(bus.get(MANAGER_PATH, MANAGER, b"Environment") or ())
    return {}


def _pairs(lines: Iterable[bytes]) -> dict[str, str]:
    split = (os.fsdecode(line).partition("=") for line in lines)
    return {name: value for name, _, value in split if name}


def _usual(worker: str) -> Path:
    return Path.home() / ".cache" / names.stem(worker)


def _holds_any(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def require_removed(worker: str, place: Place, result: str) -> None:
    """
    Args:
        result: what systemd says of the socket that was stopped.

    Raises:
        RbeeError: what the worker kept is still there.
    """
    expected = Path(place.cache, kept_folder(worker, place))
    # To remove what is not there is no failure, and of a user's manager we may have guessed wrong where it is.
    elsewhere = [] if place.mode is Mode.SYSTEM else [each for each in (expected, _usual(worker)) if _holds_any(each)]
    if elsewhere or result in _NOT_REMOVED:
        left = next(iter(elsewhere), expected)
        raise RbeeError(
            f"worker {worker} is stopped, but systemd could not remove the conversations it kept in {left}: {result}",
            hint=f"rm -r {shlex.quote(str(left))}",
            details={"folder": str(left), "result": result},
        )


def sweep(base: Path, workers: Collection[str]) -> None:
    """Remove what is left of workers that are no more; for a user's manager, whose files are all one's own."""
    there = {names.stem(worker) for worker in workers}
    for left in base.glob(names.UNIT_PATTERN):
        if left.name not in there and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
