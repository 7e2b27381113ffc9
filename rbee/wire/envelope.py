"""The error envelope: how a failure crosses a process boundary and arrives as the same class."""

from collections.abc import Mapping
from typing import Any

from rbee.errors import BY_CODE, RbeeError


def to_envelope(error: RbeeError, *, request_id: str = "", source: str = "") -> dict[str, Any]:
    """Return ``{"error": {…}}``; an error that already knows its source keeps it."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "details": error.details,
            "retriable": error.retriable,
            "request_id": error.request_id or request_id,
            "source": error.source or source,
        }
    }


def is_envelope(body: Any) -> bool:
    """Say whether ``body`` is what ``to_envelope`` gives, by this version or another."""
    inner = body.get("error") if isinstance(body, Mapping) else None
    return isinstance(inner, Mapping) and isinstance(inner.get("message"), str)


def from_envelope(body: Any, *, status: int, source: str = "") -> RbeeError:
    """Return the error in ``body``; a body that is no envelope becomes ``internal`` and says what came."""
    if not is_envelope(body):
        return RbeeError(f"{source or 'the other side'} answered {status} without an error envelope", source=source)
    inner = body["error"]
    details = inner.get("details")
    return error_for(
        str(inner.get("code", "internal")),
        str(inner["message"]),
        hint=str(inner.get("hint") or ""),
        details=details if isinstance(details, Mapping) else {},
        source=str(inner.get("source") or source),
        request_id=str(inner.get("request_id") or ""),
    )


def error_for(code: str, message: str, **facts: Any) -> RbeeError:
    """Return an error of the class that owns ``code``; an unknown code is ``internal``."""
    return BY_CODE.get(code, RbeeError)(message, **facts)
