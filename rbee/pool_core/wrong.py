"""The refusal of one value of what somebody asks for."""

from rbee.errors import InvalidRequest


def wrong(key: str, problem: str, *, hint: str = "") -> InvalidRequest:
    """Return it, with the key in its details as well: who knows where the value came from can say so."""
    return InvalidRequest(f"{key} {problem}", hint=hint, details={"fields": [{"field": key, "problem": problem}]})
