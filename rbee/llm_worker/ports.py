"""What generating needs of llama.cpp, so that only one package has to load it, and late."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from rbee.llm_worker.template import Render
from rbee.wire.events import Likelihood

Sampler: TypeAlias = Any
"""How one answer's tokens are drawn; made by ``Context.sampler`` and freed by ``Context.free``."""

Row: TypeAlias = Any
"""A number for each token of the vocabulary."""


class Interrupted(Exception):
    """A step was ended by ``Context.interrupt``: nothing of it counts."""


class StepFailed(Exception):
    """llama.cpp could not compute a step; its code and its last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Temperature 0 takes the likeliest, and only biases and penalties still count."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int
    ignore_eos: bool
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)


class Context(Protocol):
    """Slots that are computed together: each a sequence of its own, in one batch a step. Used by one thread at a time,
    except ``interrupt``.
    """

    slots: int
    slot_tokens: int
    """Tokens that a slot has room for."""
    batch_tokens: int
    """Tokens that a step has room for."""
    mixes: bool
    """What is computed beside a row may change its last bits anyway: nothing is gained by computing it apart."""
    cuts: bool
    """``keep`` can cut off the end of what a slot knows: not where a state sums up all that was read."""

    def add(self, slot: int, tokens: Sequence[int], at: int, *, ask: bool) -> int:
        """Put ``tokens`` at the positions from ``at`` on into the next step.

        Returns what ``draw``, ``logits`` and ``row`` want to know of the last of them, if ``ask``.
        """

    def pad(self, slot: int) -> None:
        """Put a token of no meaning into the next step, if that is possible; the slot knows nothing of it after."""

    def step(self) -> None:
        """Compute all that was added. Raises Interrupted, StepFailed; then nothing of it was."""

    def keep(self, slot: int, count: int) -> int:
        """Forget all but the first ``count`` tokens of a slot; return how many are left: 0 where it has to be all."""

    def copy(self, source: int, slot: int) -> None:
        """Let ``slot`` know what ``source`` does, and nothing else."""

    def sampler(self, sampling: Sampling, prompt: Sequence[int], said: Sequence[int]) -> Sampler:
        """Return a new one, whose penalties know the ``prompt`` and what was ``said`` of the answer already."""

    def free(self, sampler: Sampler) -> None: ...

    def logits(self, place: int) -> int:
        """Return the address of the row of 32-bit floats that a draw is made from."""

    def draw(self, wanted: Sequence[tuple[Sampler, int]]) -> list[int]:
        """Return the next token for each sampler and place; they are not read yet."""

    def row(self, place: int) -> Row:
        """Return a copy of the numbers that a draw is made from, as the model gave them."""

    def likelihood(self, row: Row, token: int, top: int) -> Likelihood:
        """Return how likely ``token`` was by ``row``, and its ``top`` likeliest rivals."""

    def interrupt(self) -> None:
        """End the step that is running, and every later one until ``resume``, from any thread."""

    def resume(self) -> None:
        """Compute again, from an empty step: what was added to one that did not come to be is dropped."""

    def state_bytes(self, slot: int) -> int:
        """Return how large that is, without the tokens themselves, which ``save`` writes."""

    def save(self, slot: int, path: str, tokens: Sequence[int]) -> bool:
        """Write what a slot knows, which are these tokens, to a file; say whether that worked."""

    def restore(self, slot: int, path: str) -> list[int]:
        """Let a slot know what a file holds; return its tokens, none where the file is not for this context."""

    def close(self) -> None: ...


class Embedder(Protocol):
    """A context that turns texts into vectors, or pairs into scores. Used by one thread at a time."""

    batch_tokens: int
    sequences: int

    def embed(self, texts: Sequence[Sequence[int]]) -> list[Sequence[float]]:
        """Return what the model makes of each, together at most ``batch_tokens`` long: a vector, or its one score.

        Raises Interrupted, StepFailed.
        """

    def interrupt(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


class LoadedModel(Protocol):
    """Weights in memory, their vocabulary and chat template."""

    context_tokens: int
    vocabulary: int
    render: Render | None
    template: str
    """Source of the chat template; empty where there is none."""
    ranks: bool
    """It judges documents by a query."""
    embeds: bool
    """It makes vectors, and no text."""

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of ``text``; with ``special``, those that the model wants around every text."""

    def tokenize_chat(self, text: str) -> list[int]:
        """Return the tokens of a rendered chat; the template may or may not have said how a text begins."""

    def tokenize_pair(self, query: str, document: str) -> list[int]:
        """Return the tokens of a query and a document as a model that ranks was taught to read them."""

    def piece(self, token: int, *, aloud: bool = False) -> bytes:
        """Return the bytes of ``token``, maybe half a character; none for a control token, unless ``aloud``."""

    def ends(self, token: int) -> bool:
        """Say whether the model ends its answer with ``token``."""

    def context(self, *, slots: int, slot_tokens: int, batch_tokens: int, threads: int, kv: str) -> Context:
        """Raises ModelLoadFailed when there is no memory for its cache."""

    def embedder(self, *, batch_tokens: int, threads: int, kv: str) -> Embedder:
        """Raises ModelLoadFailed when there is no memory for it."""

    def close(self) -> None: ...


Loader: TypeAlias = Callable[[Callable[[float], bool]], LoadedModel]
"""Loads, blocking; what it is given gets 0..1 and answers False to give up."""
