"""What an error looks like depends on whose dialect was spoken, and what was spoken shows in the path."""

from collections.abc import Mapping
from typing import Any

from rbee.errors import RbeeError
from rbee.wire import anthropic, ollama, openai

OPENAI = ("/v1/chat/", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/models", "/v1/responses")
ANTHROPIC = ("/v1/messages",)
OLLAMA = ("/api/",)
ANTHROPIC_VERSION = "anthropic-version"
"""The header that only clients of Anthropic's send."""


def told(error: RbeeError, envelope: dict[str, Any], path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return ``envelope`` with the words that the dialect has for ``error``; ours stay where they are in nobody's way.

    Args:
        path: of the request.
        headers: likewise.
    """
    inner = envelope["error"]
    if path.startswith(ANTHROPIC) or (path.startswith("/v1/models") and ANTHROPIC_VERSION in headers):
        theirs = anthropic.error_body(error, inner["request_id"])
        return theirs | {"error": inner | theirs["error"]}
    if path.startswith(OLLAMA):
        return {**inner, **ollama.error_body(error)}
    if path.startswith(OPENAI):
        return {"error": inner | openai.error_body(error)["error"]}
    return envelope
