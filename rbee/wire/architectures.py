"""Architectures of models that do not say one token after another, as llama.cpp names them. Pure.

Source: llama.cpp 0c1e57098, llama_model::create_memory, llama_model_has_encoder and llm_arch_is_diffusion.
"""

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
    }
)
"""They look at a text from both sides and keep nothing of it."""

EMBEDDERS = ENCODERS | {"llama-embed"}
"""They make vectors, also where the header does not say how tokens become one."""

_UNUSABLE = frozenset(
    {"dflash", "dream", "eagle3", "llada", "llada-moe", "rnd1", "t5", "t5encoder", "wavtokenizer-dec"}
)
"""llama.cpp loads them, but they want to be asked in another way: all of a text at once, or an encoder first."""


def why_unusable(architecture: str) -> str:
    """Return what to say of a model of it; empty where a worker can use it."""
    if architecture not in _UNUSABLE:
        return ""
    return f"is of architecture {architecture}, which does not say one token after another"
