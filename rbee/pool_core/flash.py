"""Flash attention: whether a backend computes attention without writing every score of a context down. Pure.

The CPU always does. GPUs have it for heads of certain lengths, in CUDA and ROCm those of
``ggml_cuda_get_best_fattn_kernel`` (ggml-cuda/fattn.cu, llama.cpp 0c1e57098). Vulkan knows more of them: for it this
table is too careful.
"""

from rbee.pool_core.gguf import F16_BYTES
from rbee.wire.catalog import ModelFile
from rbee.wire.workers import Backend

_EVEN = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
_SHARED = {192: (128, 8), 320: (256, 32), 512: (512, 2), 576: (512, 2)}
"""Length of a key: that of its value, and of how many queries, or a multiple of it, each key has to be shared."""


def has_flash(model: ModelFile, backend: Backend) -> bool:
    """Say whether ``model`` is computed so; where its header does not tell the lengths of heads, it is not."""
    if backend is Backend.CPU:
        return True
    key, value = model.key_length, model.value_length
    if key in _EVEN:
        return key == value
    if key not in _SHARED:
        return False
    wanted, share = _SHARED[key]
    queries = _queries_per_key(model)
    return value == wanted and queries > 0 and queries % share == 0


def _queries_per_key(model: ModelFile) -> int:
    """Return how many heads share a key, from what a token takes in the cache; 0 where the layers differ."""
    per_head = (model.key_length + model.value_length) * F16_BYTES * max(1, model.layers)
    keys, rest = divmod(model.kv_bytes_per_token, per_head)
    return model.heads // keys if keys and not rest and not model.heads % keys else 0
