"""A fake llama.cpp, for faults only; everything that works is tested with the real one."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.ports import Context, Embedder, LoadedModel, Sampling, StepFailed
from rbee.llm_worker.template import Render
from rbee.wire.events import Likelihood


class Panic(BaseException):
    """As that of a library in Rust."""


class FakeContext:
    """Says "a" for ever. Hangs in ``step`` while ``hangs`` is set, deaf to ``interrupt``."""

    def __init__(self, slots: int, slot_tokens: int, batch_tokens: int) -> None:
        self.slots, self.slot_tokens, self.batch_tokens = slots, slot_tokens, batch_tokens
        self.panics: BaseException | None = None
        """What ends the thread."""
        self.hangs = threading.Event()
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.fails = self.mixes = False
        self.cuts = True
        self.steps: list[list[tuple[int, int]]] = []
        """Of each step: how many tokens of which slot."""
        self.padded: list[int] = []
        self.copied: list[tuple[int, int]] = []
        self._step: list[tuple[int, int]] = []

    def add(self, slot: int, tokens: Sequence[int], at: int, *, ask: bool) -> int:
        self._step.append((slot, len(tokens)))
        return sum(count for _, count in self._step) - 1

    def pad(self, slot: int) -> None:
        self.padded.append(slot)

    def step(self) -> None:
        done, self._step = self._step, []
        self.steps.append(done)
        if self.fails:
            raise StepFailed("the fake fails as it was told to")
        if self.hangs.is_set():
            self.entered.set()
            self.let_go.wait()
        if self.panics is not None:
            raise self.panics

    def keep(self, slot: int, count: int) -> int:
        return count

    def copy(self, source: int, slot: int) -> None:
        self.copied.append((source, slot))

    def sampler(self, sampling: Sampling, prompt: Sequence[int], said: Sequence[int]) -> Any:
        return sampling

    def free(self, sampler: Any) -> None: ...

    def logits(self, place: int) -> int:
        return 0

    def draw(self, wanted: Sequence[tuple[Any, int]]) -> list[int]:
        return [1] * len(wanted)

    def row(self, place: int) -> Any:
        return ()

    def likelihood(self, row: Any, token: int, top: int) -> Likelihood:
        return Likelihood(token="a", logprob=0.0)

    def interrupt(self) -> None: ...

    def resume(self) -> None: ...

    def save(self, slot: int, path: str, tokens: Sequence[int]) -> bool:
        return False

    def restore(self, slot: int, path: str) -> list[int]:
        return []

    def close(self) -> None: ...


class FakeModel:
    context_tokens = 32_768
    vocabulary = 100
    render: Render | None = None
    template = ""
    ranks = embeds = False

    def __init__(self) -> None:
        self.made = FakeContext(1, self.context_tokens, 128)
        self.closed = 0

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [2] * max(1, len(text) // 8)

    def tokenize_chat(self, text: str) -> list[int]:
        return [2]

    def tokenize_pair(self, query: str, document: str) -> list[int]:
        return [2]

    def piece(self, token: int, *, aloud: bool = False) -> bytes:
        return b"a"

    def ends(self, token: int) -> bool:
        return False

    def context(self, *, slots: int, slot_tokens: int, batch_tokens: int, threads: int, kv: str) -> Context:
        self.made.slots, self.made.slot_tokens, self.made.batch_tokens = slots, slot_tokens, batch_tokens
        return self.made

    def embedder(self, *, batch_tokens: int, threads: int, kv: str) -> Embedder:
        raise AssertionError("the fake makes no vectors, and says so: embeds is False")

    def close(self) -> None:
        self.closed += 1

    def loader(self, on_progress: Callable[[float], bool]) -> LoadedModel:
        on_progress(1.0)
        return self


def engine_on(loader: Callable[[Callable[[float], bool]], Any], *, slots: int = 1, ctx: int = 32_768) -> ModelEngine:
    """Return an engine that is not loaded yet."""
    return ModelEngine(
        loader, worker="w", model="fake", slots=slots, context_tokens=ctx, threads=1, batch_tokens=128
    )  # fmt: skip


def loaded(model: FakeModel, *, slots: int = 1) -> ModelEngine:
    engine = engine_on(model.loader, slots=slots)
    engine.load(lambda _: None)
    return engine
