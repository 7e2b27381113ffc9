"""OpenAI's dialect, spoken by worker and queen alike: their requests to our types, our events to their answers."""

from rbee.wire.openai.answers import Renderer, model_list, model_object
from rbee.wire.openai.embeddings import EmbeddingRequest, parse_embeddings
from rbee.wire.openai.errors import error_body, error_frame
from rbee.wire.openai.requests import OpenAiRequest, parse_chat, parse_completion
from rbee.wire.openai.rerank import RerankRequest, parse_rerank
from rbee.wire.openai.sampling import DEFAULT_MAX_TOKENS

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "EmbeddingRequest",
    "OpenAiRequest",
    "Renderer",
    "RerankRequest",
    "error_body",
    "error_frame",
    "model_list",
    "model_object",
    "parse_chat",
    "parse_completion",
    "parse_embeddings",
    "parse_rerank",
]
