"""Texts to vectors, or pairs to scores: a context of its own for models that were made for it."""

import ctypes
from collections.abc import Sequence
from typing import Any

from rbee.llm_worker.llama.context import Abort, compute
from rbee.llm_worker.llama.library import c
from rbee.llm_worker.ports import StepFailed


class TextEmbedder:
    """See ``ports.Embedder``."""

    SEQUENCES = 64

    def __init__(self, handle: Any, *, width: int, batch_tokens: int) -> None:
        self.batch_tokens, self.sequences = batch_tokens, self.SEQUENCES
        self._handle, self._width = handle, width
        self._memory = c.llama_get_memory(handle)
        self._abort = Abort(handle)
        self._batch = c.llama_batch_init(batch_tokens, 0, 1)
        self._pooled = c.llama_pooling_type(handle) != c.LLAMA_POOLING_TYPE_NONE

    def embed(self, texts: Sequence[Sequence[int]]) -> list[Sequence[float]]:
        if self._memory:
            c.llama_memory_clear(self._memory, False)  # nobody looks at what is there; to zero it takes longer
        lasts = [self._add(number, tokens) for number, tokens in enumerate(texts)]
        try:
            compute(self._handle, self._batch)
        finally:
            self._batch.n_tokens = 0
        return [self._of(number, last) for number, last in enumerate(lasts)]

    def interrupt(self) -> None:
        self._abort.set(True)

    def resume(self) -> None:
        self._abort.set(False)

    def close(self) -> None:
        c.llama_batch_free(self._batch)
        c.llama_free(self._handle)

    def _add(self, number: int, tokens: Sequence[int]) -> int:
        batch = self._batch
        for position, token in enumerate(tokens):
            place = batch.n_tokens
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, number
            batch.logits[place] = 1
            batch.n_tokens = place + 1
        return int(batch.n_tokens) - 1

    def _of(self, number: int, last: int) -> Sequence[float]:
        found = (
            c.llama_get_embeddings_seq(self._handle, number)
            if self._pooled
            else c.llama_get_embeddings_ith(self._handle, last)
        )
        if not found:
            raise StepFailed("llama.cpp made no vector of this text")
        return list(ctypes.cast(found, ctypes.POINTER(ctypes.c_float))[: self._width])
