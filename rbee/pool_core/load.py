"""How a worker holds its model: everything beside the file that changes what it takes of memory. Pure."""

from dataclasses import dataclass

from rbee.pool_core.kinds import keeps_no_cache
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.workers import Backend, Kv

CPU_BATCH_TOKENS = 128
GPU_BATCH_TOKENS = 512
"""Tokens of all slots together that are read in one step: a long prompt holds the others up for one such step."""

CELLS = 256
"""llama.cpp makes contexts of a multiple of so many tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One context with ``slots`` sequences of ``ctx`` tokens each.

    ``gpu_layers`` is how many of the model's layers are on ``gpus`` GPUs, None for all; ``adapters`` lie beside it.
    """

    backend: Backend
    ctx: int
    slots: int
    kv: Kv = Kv.F16
    gpu_layers: int | None = None
    gpus: int = 1
    adapters: tuple[ModelFile, ...] = ()

    @property
    def cells(self) -> int:
        """Return the tokens that there is room for, of all slots together."""
        return padded(self.ctx) * self.slots


def batch_tokens(model: ModelFile, load: Load) -> int:
    """Return how many tokens are read in one step.

    What embeds or judges a text has to see it whole, so there the batch is the context.
    """
    if sees_whole_texts(model):
        return padded(load.ctx)
    return CPU_BATCH_TOKENS if load.backend is Backend.CPU else GPU_BATCH_TOKENS


def sees_whole_texts(model: ModelFile) -> bool:
    """Say whether each text has to fit one step, of which every token is an output."""
    return model.kind in (ModelKind.EMBED, ModelKind.RERANK) or keeps_no_cache(model)


def padded(ctx: int) -> int:
    return -(-ctx // CELLS) * CELLS
