"""The seam between serving and generating.

Everything above (sessions, routes, watchdog) knows an ``Engine``; everything below it may change. Today's engine
(``slots``) gives each slot a thread and a context of its own. One that batches all slots into one decode step keeps
this protocol and replaces ``slots``, ``decode`` and the ``Slot`` half of ``llama``; nothing above notices.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Engine(Protocol):
    """A model that can be asked."""

    slots: int
    context_tokens: int

    @property
    def slots_busy(self) -> int: ...

    @property
    def activity(self) -> Sequence[SlotActivity]: ...

    def load(self, on_progress: Callable[[float], None]) -> None:
        """Load the model; blocks, so call it in a thread. ``on_progress`` gets 0..1 in that thread.

        Raises:
            ModelLoadFailed, BackendUnavailable: says why.
        """

    def prepare(self, request: InferenceRequest) -> Prompt:
        """Return ``request`` as tokens; blocks for as long as a long prompt takes.

        Raises:
            ContextTooLong: with both numbers.
            InvalidRequest: the model has no chat template, or it refuses these messages.
        """

    def count(self, request: InferenceRequest) -> int:
        """Return how many tokens the prompt is, whether or not they fit; blocks. Raises InvalidRequest."""

    def submit(self, job: str, prompt: Prompt) -> AsyncIterator[JobEvent]:
        """Queue ``prompt``, first in first out, and yield its events from ``started`` to ``end`` or ``error``.

        Reading slowly slows the model down; no event is ever dropped.
        """

    def cancel(self, job: str) -> bool:
        """End ``job`` before its next token, or at once while it waits; its last event is ``end``. Idempotent.

        Returns whether ``job`` is here.
        """

    def close(self) -> None:
        """End everything and free the model."""
