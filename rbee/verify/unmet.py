"""How a check fails, and how it says that it does not apply."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a failed check knows. ``mend`` can be run on the host; ``nixos`` is the option there, empty for none."""

    expected: str
    found: str
    mend: str
    nixos: str = ""

    def lines(self) -> tuple[str, ...]:
        rows = ((name, text) for name, text in asdict(self).items() if text)
        return tuple(f"{name:<9} {text}" for name, text in rows)


class Unmet(AssertionError):
    """The host is not as it should be."""

    def __init__(self, finding: Finding) -> None:
        super().__init__("\n".join(finding.lines()))
        self.finding = finding


def require(found: Any, expected: Any, *, holds: bool | None = None, mend: str, nixos: str = "") -> None:
    """Fail unless ``found`` is ``expected``.

    Args:
        holds: the judgement, where that is more than being equal; ``expected`` then says it in words.

    Raises:
        Unmet: it is not.
    """
    if not (found == expected if holds is None else holds):
        raise Unmet(Finding(expected=said(expected), found=said(found), mend=mend, nixos=nixos))


def said(value: Any) -> str:
    """Return ``value`` in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {said(one)}" for key, one in value.items()) or "none"
    if isinstance(value, str):
        return value or "nothing"
    if isinstance(value, Iterable):
        return ", ".join(said(one) for one in value) or "none"
    return "nothing" if value is None else str(value)


def does_not_apply(reason: str) -> NoReturn:
    """End the check: this host has no such thing, or what the check stands on is broken and named by another."""
    pytest.skip(reason)
