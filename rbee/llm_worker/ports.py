"""What generating needs of llama.cpp, so that only one module has to load it, and late."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from rbee.llm_worker.template import Render

PREFILL_TOKENS = 128
"""Prompt tokens read in one step. Between two steps a slot can be cancelled and says that it lives."""


class Interrupted(Exception):
    """A step was ended by ``Decoder.interrupt``, or the job was cancelled between two steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Temperature 0 takes the likeliest, and only the penalty still counts."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int
    ignore_eos: bool


class Decoder(Protocol):
    """A slot's context. Used by one thread at a time, except ``interrupt``."""

    def begin(self, sampling: Sampling) -> None:
        """Forget what was read, and draw by ``sampling`` from now on."""

    def read(self, tokens: Sequence[int]) -> None:
        """Read at most PREFILL_TOKENS ``tokens``. Raises Interrupted; only ``begin`` may follow that."""

    def remember(self, tokens: Sequence[int]) -> None:
        """Let the repeat penalty know the prompt."""

    def draw(self) -> int:
        """Return the next token; it is not read yet."""

    def interrupt(self) -> None:
        """End the step that is running, from any thread, and every later one until ``begin``."""

    def end(self) -> None:
        """Free what ``begin`` made."""

    def close(self) -> None: ...


class LoadedModel(Protocol):
    """Weights in memory, their vocabulary and chat template."""

    context_tokens: int
    vocabulary: int
    render: Render | None

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of ``text``; with ``special``, those that the model wants around every text."""

    def tokenize_chat(self, text: str) -> list[int]:
        """Return the tokens of a rendered chat; the template may or may not have said how a text begins."""

    def piece(self, token: int) -> bytes:
        """Return the bytes of ``token``, maybe half a character; none for a control token."""

    def ends(self, token: int) -> bool:
        """Say whether the model ends its answer with ``token``."""

    def slot(self, *, context_tokens: int, threads: int) -> Decoder: ...

    def close(self) -> None: ...


Loader: TypeAlias = Callable[[Callable[[float], bool]], LoadedModel]
"""Loads, blocking; what it is given gets 0..1 and answers False to give up."""
