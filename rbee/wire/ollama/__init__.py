"""The Ollama API: its requests to our types, our events and models to its answers."""

from rbee.wire.ollama.answers import Answer, error_body
from rbee.wire.ollama.embedding import EmbedRequest, parse_embed, parse_embedding
from rbee.wire.ollama.models import name_of, running, shown, tags
from rbee.wire.ollama.pulling import PullRequest, parse_pull, pulled
from rbee.wire.ollama.requests import OllamaRequest, parse_chat, parse_generate, parse_name

__all__ = [
    "Answer",
    "EmbedRequest",
    "OllamaRequest",
    "PullRequest",
    "error_body",
    "name_of",
    "parse_chat",
    "parse_embed",
    "parse_embedding",
    "parse_generate",
    "parse_name",
    "parse_pull",
    "pulled",
    "running",
    "shown",
    "tags",
]
