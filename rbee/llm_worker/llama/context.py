"""The slots of a worker: sequences of one llama.cpp context, computed together.

The hot path makes nothing that can be kept: the batch's arrays are made once and written by slices, each slot's
sequence number lies ready, the functions are bound, and what a token reads as is looked up once for each.
"""

import ctypes
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbee.llm_worker.llama import likelihoods
from rbee.llm_worker.llama.drawing import Drawers
from rbee.llm_worker.llama.library import c, last_complaint
from rbee.llm_worker.llama.sampler import Chain, chain
from rbee.llm_worker.ports import Interrupted, Sampling, StepFailed
from rbee.wire.events import Likelihood

if TYPE_CHECKING:
    from rbee.llm_worker.llama.model import Model

_ABORTED = 2


def compute(context: Any, batch: Any) -> None:
    """Compute a batch. Raises Interrupted, StepFailed."""
    code = c.llama_decode(context, batch)
    if code == _ABORTED:
        raise Interrupted
    if code:
        raise StepFailed(f"llama.cpp could not compute {batch.n_tokens} tokens: code {code} {last_complaint()}")


class Abort:
    """A switch that ends what llama.cpp computes.

    It asks between two operations whether to go on. A Python function there would take the GIL a thousand times a
    token; strlen of a string that we keep empty, or not, answers the same in C.
    """

    def __init__(self, context: Any) -> None:
        self._flag = ctypes.create_string_buffer(2)
        self._asks = ctypes.cast(ctypes.CDLL(None).strlen, c.ggml_abort_callback)
        c.llama_set_abort_callback(context, self._asks, ctypes.cast(self._flag, ctypes.c_void_p))

    def set(self, on: bool) -> None:
        self._flag[0] = b"\1" if on else b"\0"


class SlotContext:
    """See ``ports.Context``."""

    def __init__(self, model: "Model", handle: Any, *, slots: int, batch_tokens: int, mixes: bool) -> None:
        self.slots, self.batch_tokens, self.mixes = slots, batch_tokens, mixes
        self.slot_tokens = int(c.llama_n_ctx_seq(handle))
        self._model, self._handle = model, handle
        self._memory = c.llama_get_memory(handle)
        kind = c.llama_get_model(handle)
        self._window = int(c.llama_model_n_swa(kind))
        self.cuts = not (c.llama_model_is_recurrent(kind) or c.llama_model_is_hybrid(kind))
        self._fresh: set[int] = set()
        self._padded: list[tuple[int, int]] = []
        self._ends = sorted(model.end_tokens)
        self._abort = Abort(handle)
        self._drawers = Drawers(handle, most=slots)
        self._filled = 0
        self._tokens: Any = (ctypes.c_int32 * batch_tokens)()
        self._positions: Any = (ctypes.c_int32 * batch_tokens)()
        self._asked: Any = (ctypes.c_int8 * batch_tokens)()
        self._sequences: Any = (ctypes.c_size_t * batch_tokens)()  # addresses of what follows
        self._slots = [(ctypes.c_int32 * 1)(slot) for slot in range(slots)]
        self._numbers = [ctypes.addressof(each) for each in self._slots]
        self._counts = (ctypes.c_int32 * batch_tokens)(*[1] * batch_tokens)
        self._batch = self._batch_of_those()

    def add(self, slot: int, tokens: Sequence[int], at: int, *, ask: bool) -> int:
        begin, end = self._filled, self._filled + len(tokens)
        count = end - begin
        self._tokens[begin:end] = tokens
        self._positions[begin:end] = range(at, at + count)
        self._sequences[begin:end] = [self._numbers[slot]] * count
        self._asked[begin:end] = b"\0" * count
        if ask:
            self._asked[end - 1] = 1
        self._filled = end
        return end - 1

    def pad(self, slot: int) -> None:
        at = int(c.llama_memory_seq_pos_max(self._memory, slot)) + 1
        # A token can be taken back where it pushes nothing out of a window.
        if self.cuts and not self._window and at < self.slot_tokens and self._filled < self.batch_tokens:
            self.add(slot, (0,), at, ask=False)
            self._padded.append((slot, at))

    def step(self) -> None:
        self._batch.n_tokens, self._filled = self._filled, 0
        try:
            compute(self._handle, self._batch)
        finally:
            self._take_padding_back()
        self._fresh.clear()

    def keep(self, slot: int, count: int) -> int:
        if count and self._window and not self._reaches(slot, count):
            count = 0  # a sliding window has forgotten what the next token would look at
        if count and c.llama_memory_seq_rm(self._memory, slot, count, -1):
            return count
        c.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return 0

    def copy(self, source: int, slot: int) -> None:
        c.llama_memory_seq_rm(self._memory, slot, -1, -1)
        c.llama_memory_seq_cp(self._memory, source, slot, -1, -1)
        self._fresh.add(slot)

    def sampler(self, sampling: Sampling, prompt: Sequence[int], said: Sequence[int]) -> Chain:
        made = chain(sampling, self._model.vocabulary, ends=self._ends)
        made.remember(prompt, said)
        return made

    def free(self, sampler: Chain) -> None:
        sampler.free()

    def logits(self, place: int) -> int:
        return ctypes.cast(c.llama_get_logits_ith(self._handle, place), ctypes.c_void_p).value or 0

    def draw(self, wanted: Sequence[tuple[Chain, int]]) -> list[int]:
        return self._drawers.draw(wanted)

    def row(self, place: int) -> Any:
        return likelihoods.row(self.logits(place), self._model.vocabulary)

    def likelihood(self, row: Any, token: int, top: int) -> Likelihood:
        return likelihoods.likelihood(row, self._model, token, top)

    def interrupt(self) -> None:
        self._abort.set(True)

    def resume(self) -> None:
        self._abort.set(False)
        self._filled = 0
        self._padded.clear()

    def state_bytes(self, slot: int) -> int:
        return int(c.llama_state_seq_get_size(self._handle, slot))

    def save(self, slot: int, path: str, tokens: Sequence[int]) -> bool:
        if slot in self._fresh:
            return False  # llama.cpp copies when it computes next; until then it would save what was there before
        array = (c.llama_token * len(tokens))(*tokens)
        return bool(c.llama_state_seq_save_file(self._handle, os.fsencode(path), slot, array, len(tokens)))

    def restore(self, slot: int, path: str) -> list[int]:
        tokens, count = (c.llama_token * self.slot_tokens)(), ctypes.c_size_t()
        read = c.llama_state_seq_load_file(
            self._handle, os.fsencode(path), slot, tokens, self.slot_tokens, ctypes.byref(count)
        )
        if not read:
            c.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return list(tokens[: count.value]) if read else []

    def close(self) -> None:
        self._drawers.close()
        c.llama_free(self._handle)

    def _take_padding_back(self) -> None:
        while self._padded:
            slot, at = self._padded.pop()
            c.llama_memory_seq_rm(self._memory, slot, at, -1)

    def _reaches(self, slot: int, count: int) -> bool:
        first = int(c.llama_memory_seq_pos_min(self._memory, slot))
        return first == 0 or first <= count - self._window

    def _batch_of_those(self) -> Any:
        """Return llama.cpp's batch around the arrays that ``add`` writes."""
        numbers = ctypes.POINTER(ctypes.c_int32)
        batch = c.llama_batch()
        batch.token, batch.pos = ctypes.cast(self._tokens, numbers), ctypes.cast(self._positions, numbers)
        batch.n_seq_id = ctypes.cast(self._counts, numbers)
        batch.seq_id = ctypes.cast(self._sequences, ctypes.POINTER(numbers))
        batch.logits = ctypes.cast(self._asked, ctypes.POINTER(ctypes.c_int8))
        return batch
