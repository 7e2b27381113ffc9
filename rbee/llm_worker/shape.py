"""The seam between what an answer has to look like and who generates it.

A ``Shape`` is made for one answer (``shaping.shape_of``), before it begins; the engine asks its constraint before each
token and lets its ear turn text into what is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPiece:
    """A piece of the call of a tool, as ``wire.events.Call`` has it."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


Piece: TypeAlias = str | CallPiece


class Constraint(Protocol):
    """Which tokens may follow. Used by one thread at a time; answers in microseconds."""

    def forbid(self, logits: int) -> None:
        """Make impossible (-inf) what may not follow, in the row of 32-bit floats at the address ``logits``."""

    def take(self, token: int) -> None:
        """Go on: ``token`` was said, also one that another worker said before."""


class Ear(Protocol):
    """Hears text, and tells text from calls. What it has heard so far it never takes back."""

    @property
    def called(self) -> bool:
        """Whether there was a call: then the answer ends by ``tool_calls``."""

    def feed(self, text: str) -> Sequence[Piece]: ...

    def flush(self) -> Sequence[Piece]:
        """Return what was held back, at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``spoken``: control tokens that the ear wants to hear, which are silent otherwise, and how they read."""

    constraint: Constraint | None = None
    ear: Ear | None = None
    spoken: Mapping[int, bytes] = field(default_factory=dict)
