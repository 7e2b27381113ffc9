"""Errors in OpenAI's shape."""

from collections.abc import Mapping
from typing import Any

from rbee.errors import RbeeError
from rbee.wire import codec
from rbee.wire.sse import Frame

_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(error: RbeeError) -> dict[str, Any]:
    """Return ``error`` in OpenAI's shape; ``param`` is the first wrong field."""
    fields = error.details.get("fields")
    first = fields[0] if isinstance(fields, list | tuple) and fields else {}
    param = first.get("field") if isinstance(first, Mapping) else None
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(error.http_status, _type(error.http_status)),
            "param": param or None,
            "code": error.code,
        }
    }


def error_frame(error: RbeeError) -> Frame:
    """Return what a stream says that has begun, and fails; nothing follows it."""
    return Frame(event="", data=codec.dump_json(error_body(error)))


def _type(status: int) -> str:
    return "invalid_request_error" if 400 <= status < 500 else "server_error"
