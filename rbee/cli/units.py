"""Bytes and durations as people write and read them."""

import math
import re

from rbee.errors import InvalidRequest

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_STEP = 1024
_LETTERS = "KMGT"


def parse_bytes(text: str, option: str) -> int:
    """Return the bytes that ``600M`` or ``2G`` means; units are binary, as systemd's are.

    Raises:
        InvalidRequest: names the option.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(f"{option} is {text!r}, expected a size like 600M or 2G")
    factor = _STEP ** (_LETTERS.index(found[2].upper()) + 1) if found[2] else 1
    return int(float(found[1]) * factor)


def parse_int(text: str | None, option: str) -> int | None:
    """Return the whole number that an option was given; None when it was not.

    Raises:
        InvalidRequest: names the option.
    """
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(f"{option} is {text!r}, expected a whole number") from None


def parse_count(text: str | None, option: str, *, default: int) -> int:
    """Return how many of something an option wants; ``default`` when it was not given.

    Raises:
        InvalidRequest: names the option.
    """
    count = parse_int(text, option)
    if count is not None and count < 0:
        raise InvalidRequest(f"{option} is {text!r}, expected a whole number of 0 or more")
    return default if count is None else count


def parse_float(text: str | None, option: str) -> float | None:
    """Return the number that an option was given; None when it was not.

    Raises:
        InvalidRequest: names the option.
    """
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f"{option} is {text!r}, expected a number")
    return number


def parse_seconds(text: str, option: str) -> float:
    """Return how long an option says to wait.

    Raises:
        InvalidRequest: names the option.
    """
    seconds = parse_float(text, option)
    if seconds is None or seconds <= 0:
        raise InvalidRequest(f"{option} is {text!r}, expected seconds above 0")
    return seconds


def seconds_text(seconds: float) -> str:
    """Return ``3.4 s``, ``2 min 5 s``, ``3 h 20 min``, ``4 d 2 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for large, small, step in ((86_400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {step[0]}" + (f" {rest} {step[1]}" if rest else "")
    return f"{whole} s"
