"""Tokens are drawn on the CPU, each from a row as long as the vocabulary: several threads share that."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rbee.llm_worker.llama.library import c
from rbee.llm_worker.llama.sampler import Chain

FEW = 4
"""So many are drawn sooner than another thread is awake."""

MOST_THREADS = 4


class Drawers:
    """Draws for one context. ``most``: how many answers it has at most."""

    def __init__(self, context: Any, *, most: int) -> None:
        self._context, self._sample = context, c.llama_sampler_sample
        others = min(MOST_THREADS, len(os.sched_getaffinity(0)), most // FEW) - 1
        self._others = ThreadPoolExecutor(others, thread_name_prefix="draw") if others > 0 else None
        self._parts = others + 1

    def draw(self, wanted: Sequence[tuple[Chain, int]]) -> list[int]:
        """Return a token for each chain and place."""
        if self._others is None or len(wanted) <= FEW:
            return self._each(wanted)
        # The first draw waits for the numbers to arrive and puts them in order; after it they are only looked at.
        first, rest = self._each(wanted[:1]), wanted[1:]
        size = -(-len(rest) // self._parts)
        parts = [rest[start : start + size] for start in range(0, len(rest), size)]
        elsewhere = [self._others.submit(self._each, part) for part in parts[1:]]
        return [*first, *self._each(parts[0]), *(token for part in elsewhere for token in part.result())]

    def close(self) -> None:
        if self._others is not None:
            self._others.shutdown()

    def _each(self, wanted: Sequence[tuple[Chain, int]]) -> list[int]:
        sample, context = self._sample, self._context
        return [sample(chain.handle, context, place) for chain, place in wanted]
