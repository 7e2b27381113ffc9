"""Hears calls in what a model says, piece by piece. The grammar has made sure that what begins as a call is one."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field

from rbee.llm_worker.calling.style import Style
from rbee.llm_worker.shape import CallPiece, Piece

_ALPHABET = string.ascii_letters + string.digits


@dataclass(slots=True)
class CallEar:
    """See ``shape.Ear``. Tells text up to a call, then each call: its name when that is known, arguments as they come.

    Between name and arguments, around calls and after the last there are fixed words, which are told to nobody.
    """

    style: Style
    called: bool = False
    _held: str = ""
    _begun: bool = False
    _over: bool = False
    _awaited: str = ""
    _calls: int = 0
    _inside: "_Nesting | None" = None

    def feed(self, text: str) -> Sequence[Piece]:
        self._held += text
        told: list[Piece] = []
        while self._held and self._step(told):
            pass
        return told

    def flush(self) -> Sequence[Piece]:
        """Return text that did not become a call after all; of a call that breaks off nothing is left to tell."""
        held, self._held = self._held, ""
        return [held] if held and not self.called else []

    def _step(self, told: list[Piece]) -> bool:
        """Tell what is known of what is held; return whether more may be."""
        if self._over:
            self._held = ""
            return False
        if not self.called:
            return self._text(told)
        if self._awaited:
            return self._words()
        return self._name(told) if self._inside is None else self._arguments(told, self._inside)

    def _text(self, told: list[Piece]) -> bool:
        met = [(at, word) for word in self.style.triggers if (at := self._held.find(word)) >= 0]
        at, trigger = min(met, default=(len(self._held) - self._doubtful(), ""))
        if not self.style.late and (at > 0 or self._begun):
            at, trigger = len(self._held), ""
        if at > 0:
            told.append(self._held[:at])
            self._held, self._begun = self._held[at:], True
        if not trigger:
            return False
        self.called = True
        self._held = self._held.removeprefix(trigger)
        self._awaited = self.style.begin.removeprefix(self.style.trigger) + self.style.open
        return True

    def _doubtful(self) -> int:
        """Return how much at the end of what is held may become a trigger."""
        return max(_overlap(self._held, word) for word in self.style.triggers)

    def _words(self) -> bool:
        """Pass over what is always said here; what is not that ends the calls."""
        both = min(len(self._held), len(self._awaited))
        self._over = self._held[:both] != self._awaited[:both]
        self._held, self._awaited = self._held[both:], self._awaited[both:]
        return bool(self._held)

    def _name(self, told: list[Piece]) -> bool:
        name, middle, rest = self._held.partition(self.style.middle)
        if not middle:
            return False
        told.append(CallPiece(index=self._calls, id=self._new_id(), name=name))
        self._held, self._inside = rest, _Nesting()
        return True

    def _arguments(self, told: list[Piece], inside: "_Nesting") -> bool:
        end = inside.end_in(self._held)
        said = self._held if end is None else self._held[:end]
        told.append(CallPiece(index=self._calls, arguments=said))
        self._held = self._held[len(said) :]
        if end is not None:
            self._calls += 1
            self._inside = None
            self._awaited = self.style.close + self.style.between + self.style.open
        return end is not None

    def _new_id(self) -> str:
        length = 9 if self.style.short_ids else 24
        made = "".join(secrets.choice(_ALPHABET) for _ in range(length))
        return made if self.style.short_ids else f"call_{made}"


@dataclass(slots=True)
class _Nesting:
    """How deep in a JSON value one is, and whether in a string of it."""

    depth: int = field(default=0, init=False)
    quoted: bool = field(default=False, init=False)
    escaped: bool = field(default=False, init=False)

    def end_in(self, text: str) -> int | None:
        """Return how much of ``text`` still belongs to the object; None for all of it, and it goes on."""
        for at, character in enumerate(text):
            if self.escaped:
                self.escaped = False
            elif self.quoted:
                self.escaped = character == "\\"
                self.quoted = character != '"'
            elif character == '"':
                self.quoted = True
            elif character in "{[":
                self.depth += 1
            elif character in "}]":
                self.depth -= 1
                if self.depth == 0:
                    return at + 1
        return None


def _overlap(text: str, word: str) -> int:
    """Return the length of the longest end of ``text`` that is a beginning of ``word``."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(word[:size])), 0)
