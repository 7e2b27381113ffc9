"""What crosses a boundary; a module is imported when it is first named, since a list of jobs wants no GPUs."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbee.wire import catalog, codec, envelope, events, git, jobs, pools, workers

__all__ = ("catalog", "codec", "envelope", "events", "git", "jobs", "pools", "workers")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
