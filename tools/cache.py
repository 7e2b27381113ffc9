"""The cache of things that take long to build. Everything in it can be made again, and none of it is half made."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.run import ToolError


def directory() -> Path:
    """Return the cache, made if need be.

    Raises:
        ToolError: it is somebody else's, who could put anything there for us to install.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base, "rbee")
    cache.mkdir(parents=True, exist_ok=True)
    owner = cache.stat().st_uid
    if owner != os.geteuid():
        raise ToolError(f"{cache} belongs to uid {owner}, not to you: unset XDG_CACHE_HOME, or use sudo -H")
    return cache


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let only one process at a time build what goes by this name."""
    with Path(directory(), f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def building(final: Path) -> Iterator[Path]:
    """Give an empty directory beside ``final`` to build in; whatever is left in it is removed."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=final.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
