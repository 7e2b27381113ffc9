"""How much memory a worker needs, from what the model's header says.

    weights                            mapped; only pages in use count, and the kernel may drop and read them again
  + kv_bytes_per_token × ctx × slots   allocated when the context is made, all of it, and touched
  + compute × slots                    activations of one batch: ``compute_bytes``; on the CPU ``touched_bytes``
  + interpreter                        Python, llama.cpp, HTTP, prompts in flight; on a GPU: the driver's context

What is predicted is compared in tests with what llama.cpp says it allocates, and at run time with what each worker is
seen to take: from then on that is believed (``ledger``).
"""

from rbee.wire.catalog import ModelFile

MIB = 1 << 20
BATCH_TOKENS = 128
"""Prompt tokens a slot reads in one step (``llm_worker.ports.PREFILL_TOKENS``): its buffers are made for so many."""

CELLS = 256
"""llama.cpp makes contexts of a multiple of so many tokens."""

COMPUTE_LIMIT_BYTES = 384 * MIB
INTERPRETER_LIMIT_BYTES = 192 * MIB
"""What a worker may take beyond weights and cache before its limit ends it: also with 64 requests of 1 MiB each."""

INTERPRETER_BYTES = 80 * MIB
SLOT_BYTES = 6 * MIB  # threads, work buffers and what the allocator keeps, of each slot on the CPU
TOKEN_BYTES = 192  # what llama.cpp's tokenizer keeps of each token it knows
DEVICE_CONTEXT_BYTES = 320 * MIB  # what a CUDA context takes before a model is loaded
CACHE_OF_WEIGHTS = 16  # a header that tells no cache size: assume a 16th of the weights per 1024 tokens
_F32, _MASK, _CANDIDATE = 4, 6, 16  # bytes: a number; a place of the mask, in f32 and f16; a token's logit and its copy


def cache_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return the bytes of key and value cache (f16) of ``slots`` slots of ``ctx`` tokens each."""
    per_token = model.kv_bytes_per_token or model.size_bytes // CACHE_OF_WEIGHTS // 1024
    return per_token * -(-ctx // CELLS) * CELLS * slots


def compute_bytes(model: ModelFile, *, ctx: int) -> int:
    """Return the bytes of activations that one slot needs for a batch.

    For each token of it, in f32: the attention scores of every head over the whole context, the logits of the whole
    vocabulary, the two halves of the feed-forward layer, and a few vectors as wide as the model. llama.cpp lets some
    of these share memory, and where flash attention is to be had it keeps no scores; so it takes less, and never more.
    """
    if not model.heads or not model.vocabulary:
        return COMPUTE_LIMIT_BYTES
    per_token = model.heads * ctx + model.vocabulary + 2 * model.feed_forward_length + 6 * model.embedding_length
    return BATCH_TOKENS * _F32 * per_token


def touched_bytes(model: ModelFile, *, ctx: int) -> int:
    """Return what of its activations a slot on the CPU ever touches; the rest of that buffer takes no memory.

    There flash attention is always to be had, so there is a mask and are no scores, and only the last token of a batch
    has logits, which are sorted in a copy.
    """
    if not model.heads or not model.vocabulary:
        return COMPUTE_LIMIT_BYTES
    vectors = 2 * model.feed_forward_length + 6 * model.embedding_length
    return BATCH_TOKENS * (_F32 * vectors + _MASK * ctx) + _CANDIDATE * model.vocabulary + SLOT_BYTES


def limit_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return a worker's memory limit on the host, unless one is asked for."""
    compute = max(COMPUTE_LIMIT_BYTES, slots * compute_bytes(model, ctx=ctx))
    return model.size_bytes + cache_bytes(model, ctx=ctx, slots=slots) + compute + INTERPRETER_LIMIT_BYTES


def host_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return what a worker on the CPU takes of the host's memory."""
    return model.size_bytes + own_bytes(model, ctx=ctx, slots=slots)


def own_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return what of that is not its weights."""
    interpreter = INTERPRETER_BYTES + TOKEN_BYTES * model.vocabulary
    return cache_bytes(model, ctx=ctx, slots=slots) + slots * touched_bytes(model, ctx=ctx) + interpreter


def device_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return what a worker with all layers on one GPU takes of that GPU's memory.

    The table of embeddings stays on the host, unless the output layer uses the same one.
    """
    weights = model.size_bytes - model.embedding_bytes
    compute = slots * compute_bytes(model, ctx=ctx)
    return weights + cache_bytes(model, ctx=ctx, slots=slots) + compute + DEVICE_CONTEXT_BYTES
