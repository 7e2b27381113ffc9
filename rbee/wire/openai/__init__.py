"""OpenAI's dialect, spoken by worker and queen alike: their requests to our types, our events to their answers."""

from rbee.wire.openai.answers import Renderer, error_body, model_list, model_object
from rbee.wire.openai.requests import DEFAULT_MAX_TOKENS, OpenAiRequest, parse_chat, parse_completion

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "OpenAiRequest",
    "Renderer",
    "error_body",
    "model_list",
    "model_object",
    "parse_chat",
    "parse_completion",
]
