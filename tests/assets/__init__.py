"""Things the tests need that nobody should commit: made on the spot, the same each time."""

from tests.assets.encoder import WIDTH, tiny_encoder
from tests.assets.gguf import CONTEXT_TOKENS, Template, tiny_gguf

__all__ = ["CONTEXT_TOKENS", "WIDTH", "Template", "tiny_encoder", "tiny_gguf"]
