"""Things the tests need that nobody should commit: made on the spot, the same each time."""

from tests.assets.gguf import CONTEXT_TOKENS, Template, tiny_gguf

__all__ = ["CONTEXT_TOKENS", "Template", "tiny_gguf"]
