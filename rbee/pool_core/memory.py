"""How much memory a worker needs, from what the model's header says.

    weights                            mapped; only pages in use count, and the kernel may drop and read them again
  + kv_bytes_per_token × ctx × slots   allocated when the context is made, all of it, and touched
  + compute                            activations of one batch of 512 tokens; the largest part is 512 × vocabulary × 4
  + interpreter                        Python, llama.cpp, HTTP, prompts and tokens in flight

Measured with llama-cpp-python 0.3.36 and SmolLM2-135M (23,040 bytes of cache a token): 262 MiB resident at 4096 tokens
of context and 358 MiB at 8192, of which 98 and 94 MiB more are weights and cache; the rest is 70 MiB. ``COMPUTE_BYTES``
leaves room for vocabularies of 152,000 tokens (311 MB), ``INTERPRETER_BYTES`` for 64 requests of 1 MiB.
"""

from rbee.wire.catalog import ModelFile

MIB = 1 << 20
COMPUTE_BYTES = 384 * MIB
INTERPRETER_BYTES = 192 * MIB
DEVICE_CONTEXT_BYTES = 320 * MIB  # what a CUDA context takes before a model is loaded
CACHE_OF_WEIGHTS = 16  # a header that tells no cache size: assume a 16th of the weights per 1024 tokens


def cache_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return the bytes of key and value cache (f16) of ``slots`` slots of ``ctx`` tokens each."""
    per_token = model.kv_bytes_per_token or model.size_bytes // CACHE_OF_WEIGHTS // 1024
    return per_token * ctx * slots


def host_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return what a worker needs of the host's memory; also its limit, unless one is asked for."""
    return model.size_bytes + cache_bytes(model, ctx=ctx, slots=slots) + COMPUTE_BYTES + INTERPRETER_BYTES


def device_bytes(model: ModelFile, *, ctx: int, slots: int) -> int:
    """Return what a worker with all layers on one GPU needs of that GPU's memory."""
    return model.size_bytes + cache_bytes(model, ctx=ctx, slots=slots) + COMPUTE_BYTES + DEVICE_CONTEXT_BYTES
