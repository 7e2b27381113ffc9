"""What a model is for, from its header: to say what follows, to embed texts, to judge them, or to change another. Pure.

Where a header does not say that a model only embeds or judges, it generates.
"""

from rbee.errors import InvalidRequest
from rbee.pool_core import flash
from rbee.pool_core.gguf import Header
from rbee.pool_core.wrong import wrong
from rbee.wire.architectures import EMBEDDERS, ENCODERS, why_unusable
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.workers import Backend, Kv

_CLASSIFIERS = ("cls.weight", "cls.output.weight")
_NO_POOLING, _RANK = 0, 4  # llama.h, llama_pooling_type
_Q8_BLOCK = 32  # values that share a scale


def kind_of(header: Header) -> ModelKind:
    """Return what a file is for: by its type, its classifier, how it pools, its architecture."""
    if header.general_type == "adapter":
        return ModelKind.ADAPTER
    if header.pooling == _RANK or any(tensor.name in _CLASSIFIERS for tensor in header.tensors):
        return ModelKind.RERANK
    if header.pooling not in (None, _NO_POOLING) or header.architecture in EMBEDDERS:
        return ModelKind.EMBED
    return ModelKind.GENERATE


def keeps_no_cache(model: ModelFile) -> bool:
    """Say whether a worker of ``model`` needs no memory for keys and values of earlier tokens."""
    return model.architecture in ENCODERS


def require_usable(model: ModelFile) -> None:
    """
    Raises:
        InvalidRequest: llama.cpp loads it, but no worker could ask it anything.
    """
    if why := why_unusable(model.architecture):
        raise InvalidRequest(
            f"{model.id} {why}: no worker can use it",
            hint="rbee-hive models list shows what each is for",
        )


def can_keep_as(kv: Kv, model: ModelFile, backend: Backend) -> bool:
    """Say whether the cache of ``model`` can be of that type there; where the header does not tell, it is tried."""
    return kv is Kv.F16 or not _why_not(model, backend)


def require_kv(kv: Kv, model: ModelFile, backend: Backend) -> None:
    """
    Raises:
        InvalidRequest: llama.cpp would refuse a cache of that type for ``model``, or compute elsewhere, and why.
    """
    if not can_keep_as(kv, model, backend):
        why = _why_not(model, backend)
        raise wrong("kv", f"is {kv}, but not for {model.id}: {why}", hint=f"--kv {Kv.F16}")


def _why_not(model: ModelFile, backend: Backend) -> str:
    """Return why its cache cannot be q8_0, which wants whole blocks and flash attention; empty where it can."""
    if keeps_no_cache(model):
        return "it is an encoder, which keeps no keys and values"
    if _uneven(model):
        return f"its heads have {_uneven(model)} values, expected a multiple of {_Q8_BLOCK}"
    if model.architecture == "grok":
        return "grok cannot use flash attention, which q8_0 needs"
    if model.key_length and not flash.has_flash(model, backend):
        lengths = f"heads of {model.key_length} and {model.value_length} values"
        return f"{backend} has no flash attention, which q8_0 needs, for {lengths}"
    return ""


def _uneven(model: ModelFile) -> int:
    """Return the length of a head that cannot be cut into blocks; 0 when both can, or are not told."""
    return next((each for each in (model.key_length, model.value_length) if each % _Q8_BLOCK), 0)
