"""Anthropic's Messages: their requests to our types, our events to their answers, errors and lists."""

from rbee.wire.anthropic.answers import Answer, error_body, model_list, model_object
from rbee.wire.anthropic.requests import MessagesRequest, parse, parse_count

__all__ = [
    "Answer",
    "MessagesRequest",
    "error_body",
    "model_list",
    "model_object",
    "parse",
    "parse_count",
]
