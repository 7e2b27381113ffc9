"""The seam between serving and generating: what is above (sessions, routes, watchdog) knows an ``Engine``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rbee.errors import RbeeError
from rbee.llm_worker.shape import Shape
from rbee.wire.events import JobEvent
from rbee.wire.inference import InferenceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request made ready: tokens that fit the context, a seed, a limit that fits what is left."""

    request: InferenceRequest
    tokens: Sequence[int]
    seed: int
    max_tokens: int
    said: Sequence[int] = ()
    """Tokens of the answer that another worker has said already; they count, and are not told again."""
    shape: Shape = field(default_factory=Shape)
    inputs: Sequence[Sequence[int]] = ()
    """Where vectors or scores are wanted: the tokens of each text, or of the query with each document."""

    @property
    def tokens_in(self) -> int:
        return len(self.tokens) + sum(len(each) for each in self.inputs)


@dataclass(slots=True, kw_only=True)
class SlotActivity:
    """What a slot is doing; the watchdog reads it.

    Args:
        progress_s: when it last did something, on the engine's clock.
        paused: it waits for a slow reader, which is no standstill.
    """

    number: int
    progress_s: float = 0.0
    busy: bool = False
    paused: bool = False

    def begin(self, now_s: float) -> None:
        self.progress_s = now_s
        self.busy = True  # not sooner: whoever looks for a standstill would see one

    def pause(self, on: bool, now_s: float) -> None:
        if self.paused and not on:
            self.progress_s = now_s  # it stood still for its reader, not by itself
        self.paused = on

    def end(self) -> None:
        self.busy = self.paused = False


@dataclass(slots=True)
class Spent:
    """Where the engine's time went, in seconds: llama.cpp computing, drawing tokens, and all else of a step."""

    compute_s: float = 0.0
    draw_s: float = 0.0
    rest_s: float = 0.0
    steps: int = 0


Outlet = Callable[[Sequence[JobEvent]], None]
"""Takes the events of a job, some at a time, in the event loop; the last of all is ``end`` or ``error``."""


class Engine(Protocol):
    """A model that can be asked."""

    slots: int
    context_tokens: int
    spent: Spent

    @property
    def slots_busy(self) -> int: ...

    @property
    def activity(self) -> Sequence[SlotActivity]: ...

    def load(self, on_progress: Callable[[float], None]) -> None:
        """Load the model; blocks, so call it in a thread. ``on_progress`` gets 0..1 in that thread.

        Raises:
            ModelLoadFailed, BackendUnavailable: says why. ShuttingDown: it was closed meanwhile.
        """

    def watch(self, died: Callable[[RbeeError], None]) -> None:
        """Have ``died`` called, in any thread, when nothing can be computed any more though nobody closed it."""

    def prepare(self, request: InferenceRequest) -> Prompt:
        """Return ``request`` as tokens; blocks for as long as a long prompt takes.

        Raises:
            ContextTooLong: with both numbers.
            InvalidRequest: the model has no chat template, it refuses these messages, or does no such work.
        """

    def count(self, request: InferenceRequest) -> int:
        """Return how many tokens the prompt is, whether or not they fit; blocks. Raises InvalidRequest."""

    def submit(self, job: str, prompt: Prompt, outlet: Outlet) -> None:
        """Queue ``prompt``, first in first out; ``outlet`` gets its events from ``started`` to the last.

        Raises:
            ShuttingDown, WorkerLost: it is closed, or broken; ``outlet`` gets nothing.
        """

    def hold(self, job: str, on: bool) -> None:
        """Stop to generate for ``job``, whose reader lags, or go on; a few tokens may still come."""

    def cancel(self, job: str) -> bool:
        """End ``job`` before its next token, or at once while it waits; its last event is ``end``. Idempotent.

        Returns whether ``job`` is here.
        """

    def keep(self) -> None:
        """Write what the slots know to disk, if the worker keeps that; its last act. Blocks."""

    def close(self) -> None:
        """End everything and free the model."""
