"""What a model is for, from its header: to say what follows, to embed texts, to judge them, or to change another. Pure.

Where a header does not say that a model only embeds or judges, it generates.
"""

from rbee.errors import InvalidRequest
from rbee.pool_core.gguf import Header
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.workers import Kv

ENCODERS = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures that look at a text from both sides and keep nothing of it (llama_model::create_memory)."""

_EMBEDDERS = ENCODERS | {"llama-embed"}
_CLASSIFIERS = ("cls.weight", "cls.output.weight")
_NO_POOLING, _RANK = 0, 4  # llama.h, llama_pooling_type
_Q8_BLOCK = 32  # values that share a scale


def kind_of(header: Header) -> ModelKind:
    """Return what a file is for: by its type, its classifier, how it pools, its architecture."""
    if header.general_type == "adapter":
        return ModelKind.ADAPTER
    if header.pooling == _RANK or any(tensor.name in _CLASSIFIERS for tensor in header.tensors):
        return ModelKind.RERANK
    if header.pooling not in (None, _NO_POOLING) or header.architecture in _EMBEDDERS:
        return ModelKind.EMBED
    return ModelKind.GENERATE


def keeps_no_cache(model: ModelFile) -> bool:
    """Say whether a worker of ``model`` needs no memory for keys and values of earlier tokens."""
    return model.architecture in ENCODERS


def can_keep_as(kv: Kv, model: ModelFile) -> bool:
    """Say whether the cache of ``model`` can be of that type; where the header does not tell, it is tried."""
    if kv is Kv.F16:
        return True
    return not keeps_no_cache(model) and model.architecture != "grok" and not _uneven(model)


def require_kv(kv: Kv, model: ModelFile) -> None:
    """
    Raises:
        InvalidRequest: llama.cpp would refuse a cache of that type for ``model``, and why.
    """
    if can_keep_as(kv, model):
        return
    if keeps_no_cache(model):
        why = "it is an encoder, which keeps no keys and values"
    elif _uneven(model):
        why = f"its heads have {_uneven(model)} values, expected a multiple of {_Q8_BLOCK}"
    else:
        why = f"{model.architecture} cannot use flash attention, which {kv} needs"
    raise InvalidRequest(f"kv is {kv}, but not for {model.id}: {why}", hint=f"--kv {Kv.F16}")


def _uneven(model: ModelFile) -> int:
    """Return the length of a head that cannot be cut into blocks; 0 when both can, or are not told."""
    return next((each for each in (model.key_length, model.value_length) if each % _Q8_BLOCK), 0)
