"""How much memory a worker needs, from what the model's header says and how it is loaded (``Load``).

    weights                            mapped; only pages in use count, and the kernel may drop and read them again
  + adapters                           copied
  + kv_bytes_per_token × cells         allocated when the context is made, all of it, and touched
  + compute                            activations of one batch: ``compute_bytes``; on the CPU ``touched_bytes``
  + a little for each slot             the likelihoods of its next token, and a copy that is sorted
  + interpreter                        Python, llama.cpp, HTTP, prompts in flight; on a GPU: the driver's context

All slots are sequences of one context and read in one batch. What is predicted is compared in tests with what llama.cpp
says it allocates, and at run time with what each worker is seen to take: from then on that is believed (``ledger``).
"""

from rbee.pool_core.flash import has_flash
from rbee.pool_core.kinds import keeps_no_cache
from rbee.pool_core.load import Load, batch_tokens, padded, sees_whole_texts
from rbee.wire.catalog import ModelFile
from rbee.wire.workers import Backend, Kv

MIB = 1 << 20

COMPUTE_LIMIT_BYTES = 384 * MIB
INTERPRETER_LIMIT_BYTES = 320 * MIB
"""What a worker may take beyond weights and cache before its limit ends it: also with 64 requests of 1 MiB each, and
while a schema is tried, which may take 128 MiB (llm_worker/guidance/bounded.py)."""

SHAPE_LIMIT_BYTES = 33 * MIB
"""What an answer's schema may take, of each slot, at most (llm_worker/guidance/matcher.py). Hardly any does."""

INTERPRETER_BYTES = 80 * MIB
WORK_BYTES = 6 * MIB  # threads, work buffers and what the allocator keeps, of a context on the CPU
SLOT_BYTES = MIB  # prompts, samplers and events of one slot
TOKEN_BYTES = 192  # what llama.cpp's tokenizer keeps of each token it knows
DEVICE_CONTEXT_BYTES = 512 * MIB  # what CUDA's own context takes before a model is loaded; 508 on an H200
CACHE_OF_WEIGHTS = 16  # a header that tells no cache size: assume a 16th of the weights per 1024 tokens

_F32, _MASK = 4, 6  # bytes: a number; a place of the mask, in f32 and f16
_LOGITS = 4 + 16  # of a token of the vocabulary, for each slot: its likelihood, and the copy that is sorted
_Q8 = (34, 64)  # a block of q8_0 has 34 bytes where f16 has 64


def cache_bytes(model: ModelFile, load: Load) -> int:
    """Return the bytes of key and value cache of all slots at full context."""
    if keeps_no_cache(model):
        return 0
    per_token = model.kv_bytes_per_token or model.size_bytes // CACHE_OF_WEIGHTS // 1024
    whole = per_token * _cells(model, load)
    return whole if load.kv is Kv.F16 else whole * _Q8[0] // _Q8[1]


def compute_bytes(model: ModelFile, load: Load) -> int:
    """Return the bytes of activations for one batch.

    For each token of it, in f32: the logits of the whole vocabulary, the two halves of the feed-forward layer, and a
    few vectors as wide as the model; and the mask. Where there is no flash attention, the scores of every head over a
    whole context as well; where there is and the cache is q8_0, one layer of that in f16. llama.cpp lets some of these
    share memory, so it takes less, and never more.
    """
    if not model.heads or not model.vocabulary:
        return COMPUTE_LIMIT_BYTES
    logits = 0 if keeps_no_cache(model) else _F32 * model.vocabulary
    return batch_tokens(model, load) * logits + _inner_bytes(model, load)


def touched_bytes(model: ModelFile, load: Load) -> int:
    """Return what of its activations a worker on the CPU ever touches; the rest of that buffer takes no memory.

    There flash attention is always to be had, so there is a mask and are no scores, and only the last token of each
    slot has logits; but where a text is seen whole every token has, although nobody wants them.
    """
    if not model.heads or not model.vocabulary:
        return COMPUTE_LIMIT_BYTES
    logits = model.vocabulary if sees_whole_texts(model) and not keeps_no_cache(model) else 0
    per_token = _F32 * (_vectors(model) + logits) + _MASK * padded(load.ctx)
    return batch_tokens(model, load) * per_token + WORK_BYTES


def further_bytes(model: ModelFile, load: Load) -> int:
    """Return what each GPU after the first takes of its own where a model is split: the logits are on one alone."""
    if not model.heads or not model.vocabulary:
        return DEVICE_CONTEXT_BYTES
    return DEVICE_CONTEXT_BYTES + _inner_bytes(model, load)


def limit_bytes(model: ModelFile, load: Load) -> int:
    """Return a worker's memory limit on the host, unless one is asked for."""
    compute = max(COMPUTE_LIMIT_BYTES, compute_bytes(model, load))
    beside = adapters_bytes(load) + cache_bytes(model, load) + compute + _slots_bytes(model, load)
    return model.size_bytes + beside + INTERPRETER_LIMIT_BYTES + load.slots * SHAPE_LIMIT_BYTES


def host_bytes(model: ModelFile, load: Load) -> int:
    """Return what a worker on the CPU takes of the host's memory."""
    return model.size_bytes + own_bytes(model, load)


def own_bytes(model: ModelFile, load: Load) -> int:
    """Return what of that is not its weights."""
    beside = adapters_bytes(load) + _process_bytes(model, load)
    return cache_bytes(model, load) + touched_bytes(model, load) + beside


def device_bytes(model: ModelFile, load: Load) -> int:
    """Return what a worker takes of its GPUs' memory, of all of them together.

    The table of embeddings stays on the host, unless the output layer uses the same one. Where layers stay there as
    well, those of one are copied to the GPU at a time to read a long prompt.
    """
    weights, cache = weights_on_device(model, load), cache_bytes(model, load)
    if is_partial(model, load):
        cache = cache * _blocks(model, load) // model.layers
        weights += _block_bytes(model)
    beside = adapters_bytes(load) + compute_bytes(model, load)
    return weights + cache + beside + DEVICE_CONTEXT_BYTES + (load.gpus - 1) * further_bytes(model, load)


def rest_bytes(model: ModelFile, load: Load) -> int:
    """Return what a worker on GPUs takes of the host's memory: itself, and the layers that stay there."""
    if load.backend is Backend.CPU:
        return host_bytes(model, load)
    if not is_partial(model, load):
        return _process_bytes(model, load)
    cache = cache_bytes(model, load)
    left = cache - cache * _blocks(model, load) // model.layers
    return weights_on_host(model, load) + left + touched_bytes(model, load) + _process_bytes(model, load)


def is_partial(model: ModelFile, load: Load) -> bool:
    """Say whether some of the model's layers stay on the host; the output layer is one more than its header counts."""
    return load.gpu_layers is not None and model.layers > 0 and load.gpu_layers <= model.layers


def weights_on_device(model: ModelFile, load: Load) -> int:
    """Return the bytes of weights on GPUs. llama.cpp puts the output layer there first, then the last blocks."""
    if not is_partial(model, load):
        return model.size_bytes - model.embedding_bytes
    return model.output_bytes + _blocks(model, load) * _block_bytes(model)


def weights_on_host(model: ModelFile, load: Load) -> int:
    """Return the bytes of weights that are read from the host's memory.

    The table of embeddings is not counted where all else is on GPUs: of that only rows of tokens that occur are
    read.
    """
    if load.backend is Backend.CPU:
        return model.size_bytes
    return model.size_bytes - weights_on_device(model, load) if is_partial(model, load) else 0


def layers_on_device(model: ModelFile, load: Load) -> int:
    """Return how many layers GPUs have to share, the output layer not counted; 0 where the header does not tell."""
    return max(1, _blocks(model, load)) if model.layers else 0


def adapters_bytes(load: Load) -> int:
    return sum(adapter.size_bytes for adapter in load.adapters)


def _inner_bytes(model: ModelFile, load: Load) -> int:
    """Return the activations of one batch between embeddings and logits."""
    ctx = padded(load.ctx)
    scores = 0 if has_flash(model, load.backend) else model.heads * ctx
    per_token = _F32 * (scores + _vectors(model)) + _MASK * ctx
    return batch_tokens(model, load) * per_token + _staged_bytes(model, load)


def _blocks(model: ModelFile, load: Load) -> int:
    return model.layers if load.gpu_layers is None else min(model.layers, load.gpu_layers - 1)


def _block_bytes(model: ModelFile) -> int:
    """Return the weights of one layer; all are about the same."""
    outside = model.embedding_bytes + model.output_bytes
    return -(-max(0, model.size_bytes - outside) // max(1, model.layers))


def _vectors(model: ModelFile) -> int:
    return 2 * model.feed_forward_length + 6 * model.embedding_length


def _cells(model: ModelFile, load: Load) -> int:
    """Return for how many tokens there is a cache: who sees texts whole has one for all slots together."""
    return padded(load.ctx) if sees_whole_texts(model) else load.cells


def _process_bytes(model: ModelFile, load: Load) -> int:
    """Return what a worker takes whatever computes: Python, the vocabulary, its slots."""
    return INTERPRETER_BYTES + TOKEN_BYTES * model.vocabulary + _slots_bytes(model, load)


def _slots_bytes(model: ModelFile, load: Load) -> int:
    return load.slots * (SLOT_BYTES + _LOGITS * model.vocabulary) + _outputs_bytes(model, load)


def _outputs_bytes(model: ModelFile, load: Load) -> int:
    """Return what llama.cpp sets aside on the host for the likelihoods after every token of a text that it sees whole.

    It does, and fills it with zeros, although a model that only embeds has none.
    """
    if not sees_whole_texts(model):
        return 0
    return _F32 * batch_tokens(model, load) * (model.vocabulary + model.embedding_length)


def _staged_bytes(model: ModelFile, load: Load) -> int:
    """Return one layer's keys and values in f16, into which a GPU turns those of another type before it uses them."""
    if load.kv is Kv.F16 or load.backend is Backend.CPU:
        return 0
    return model.kv_bytes_per_token * _cells(model, load) // max(1, model.layers)
