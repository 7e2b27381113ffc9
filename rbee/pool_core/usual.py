"""How workers of a model are made where whoever asks for one does not say: what ``[models.<alias>]`` tells. Pure.

What is asked for comes first, then this, then ``[worker]``. A switch can only be put on: nobody asks for a worker that
is not pinned.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rbee.wire.fields import number, plain
from rbee.wire.workers import HIGHEST_PRIORITY, MOST_LAYERS, Backend, Kv, WorkerShape, WorkerSpec

_OF_GPUS = ("gpu", "gpu_layers")
"""Of a model they mean its own backend, and say nothing about another."""

_KEYS = ("gpu", "ctx", "slots", "kv", "gpu_layers", "idle_s", "keep", "priority")


def gpu_problems(made: "Usual | WorkerShape") -> Iterator[tuple[str, str]]:
    """Yield what is said of a GPU where the backend uses none."""
    if made.backend is Backend.CPU:
        for key in _OF_GPUS:
            if getattr(made, key) is not None:
                yield key, f"is {getattr(made, key)}, but the backend is cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """Absent is as ``[worker]`` says, or as it comes. The queen asks for ``backend`` and for no other."""

    backend: Backend | None = None
    gpu: int | None = number(low=0, high=63, default=None, doc="which; absent: one with room")
    ctx: int | None = number(low=64, high=1 << 20, default=None, unit="tokens a slot")
    slots: int | None = number(low=1, high=64, default=None)
    kv: Kv | None = None
    gpu_layers: int | None = number(low=1, high=MOST_LAYERS, default=None, unit="layers", doc="the rest on the host")
    idle_s: int | None = number(low=1, high=30 * 86_400, default=None, unit="s")
    pinned: bool = plain(False, doc="never evicted for another model")
    keep: bool | None = plain(None, doc="conversations outlive a sleep, on disk")
    priority: int | None = number(
        low=-HIGHEST_PRIORITY,
        high=HIGHEST_PRIORITY,
        default=None,
        doc="of idle workers the lower goes first when memory is wanted; absent: 0",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from gpu_problems(self)

    def added(self, spec: WorkerSpec) -> Mapping[str, Any]:
        """Return what ``spec`` gets from here."""
        silent = [key for key in _KEYS if getattr(spec, key) is None and getattr(self, key) is not None]
        if not self._means_gpus_of(spec.backend):
            silent = [key for key in silent if key not in _OF_GPUS]
        return {key: getattr(self, key) for key in silent} | ({"pinned": True} if self.pinned else {})

    def _means_gpus_of(self, backend: Backend) -> bool:
        return self.backend is backend or (self.backend is None and backend is not Backend.CPU)


NOTHING = Usual()


def filled(spec: WorkerSpec, usual: Usual) -> WorkerSpec:
    """Return ``spec`` with what it does not say."""
    return dataclasses.replace(spec, **usual.added(spec))
