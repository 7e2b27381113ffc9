"""Tokens of a model as text in JSON: a long answer's are too many for a list of numbers."""

import base64
import struct
from collections.abc import Sequence

from rbee.errors import InvalidRequest

LONGEST = 4 * (32_768 * 4 + 2) // 3
"""Of the text, for as many tokens as an answer may have."""


def packed(tokens: Sequence[int]) -> str:
    """Return ``tokens`` as base64 of little-endian 32-bit numbers."""
    return base64.b64encode(struct.pack(f"<{len(tokens)}I", *tokens)).decode("ascii")


def unpacked(text: str) -> list[int]:
    """Return the tokens in ``text``.

    Raises:
        InvalidRequest: ``packed`` did not make it.
    """
    try:
        data = base64.b64decode(text, validate=True)
        return list(struct.unpack(f"<{len(data) // 4}I", data))
    except (ValueError, struct.error):
        raise InvalidRequest(f"continue_from is {text[:40]!r}, expected base64 of 32-bit numbers") from None
