"""Taking model files away: only the store's own, and never one that is being written."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from rbee.adapters.hub.partial import try_lock
from rbee.errors import Conflict
from rbee.pool_core.catalog import PARTIAL


def remove_files(paths: Iterable[str], own: Path) -> None:
    """Remove those of ``paths`` that lie in the folder ``own``, and the folders this leaves empty.

    Raises:
        PermissionError: by the file system.
    """
    inside = [path for path in map(Path, paths) if _is_inside(path, own)]
    for path in inside:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in inside}:
        _remove_empty(folder, own)


def remove_partials(folder: Path) -> bool:
    """Remove what an interrupted download left in ``folder``; return whether there was anything.

    Raises:
        Conflict: a download is going on.
    """
    found = sorted(folder.glob(f"*{PARTIAL}"))
    for path in found:
        with path.open("rb+", buffering=0) as stream:
            if not try_lock(stream):
                raise Conflict(f"{path.name.removesuffix(PARTIAL)} is being downloaded", hint="stop that first")
            path.unlink()
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
    if found:
        _remove_empty(folder, folder.parent)
    return bool(found)


def _is_inside(path: Path, own: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(own))


def _remove_empty(folder: Path, own: Path) -> None:
    if os.path.realpath(folder) != os.path.realpath(own):
        with contextlib.suppress(OSError):
            folder.rmdir()
