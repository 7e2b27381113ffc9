"""What a field of a wire type may hold, said once beside the field.

``codec`` enforces it, the OpenAPI document and the example configuration repeat it.
"""

import re
from dataclasses import dataclass, field
from typing import Any

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Worker, model, pool and host names (SPEC: who may do what)."""

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Bounds of one field. ``like``: what matches ``pattern``, in words. ``raw``: text that may hold NUL, since a model
    or a program said it.

    Numbers: ``low``..``high``, inclusive. Text: ``longest`` in UTF-8 bytes. Lists: ``longest`` items.
    """

    low: float | None = None
    high: float | None = None
    shortest: int | None = None
    longest: int | None = None
    pattern: re.Pattern[str] | None = None
    like: str = ""
    unit: str = ""
    doc: str = ""
    raw: bool = False
    sparse: bool = False
    """Left out of the JSON where it says no more than its default."""


def number(*, low: float, high: float, default: Any = ..., unit: str = "", doc: str = "", sparse: bool = False) -> Any:
    """A field holding a number within ``low``..``high``."""
    return _field(Rule(low=low, high=high, unit=unit, doc=doc, sparse=sparse), default)


def text(
    *,
    longest: int,
    shortest: int = 0,
    pattern: re.Pattern[str] | None = None,
    like: str = "",
    default: Any = ...,
    doc: str = "",
) -> Any:
    """A field holding text of at most ``longest`` UTF-8 bytes that matches ``pattern`` as a whole."""
    return _field(Rule(longest=longest, shortest=shortest, pattern=pattern, like=like, doc=doc), default)


def name(default: Any = ..., doc: str = "") -> Any:
    """A field holding the name of a worker, model, pool or host."""
    return _field(Rule(pattern=NAME, doc=doc), default)


def items(*, longest: int, shortest: int = 0, default: Any = ..., doc: str = "") -> Any:
    """A field holding a list of at most ``longest`` things."""
    return _field(Rule(longest=longest, shortest=shortest, doc=doc), default)


def plain(default: Any = ..., *, unit: str = "", doc: str = "") -> Any:
    """A field that only wants a word of explanation."""
    return _field(Rule(unit=unit, doc=doc), default)


def sparse(default: Any, *, longest: int | None = None, doc: str = "") -> Any:
    """A field that is left out of the JSON where it is as it is by default."""
    return _field(Rule(longest=longest, doc=doc, sparse=True), default)


def said(default: Any = ..., doc: str = "") -> Any:
    """A field holding what a model or a program said, whatever that was."""
    return _field(Rule(doc=doc, raw=True), default)


def _field(rule: Rule, default: Any) -> Any:
    if default is ...:
        return field(metadata={"rule": rule})
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"rule": rule})
    return field(default=default, metadata={"rule": rule})
