"""Small vocabularies, and a model that says anything it may."""

import ctypes
import random
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from rbee.llm_worker.shape import CallPiece, Piece, Shape
from rbee.llm_worker.template import TemplateRefused

CONTROL = {b"<s>": 1, b"</s>": 2, b"<|im_end|>": 3, b"[TOOL_CALLS]": 4, b"<|python_tag|>": 5}
WORDS = [b'{"', b'": "', b'": ', b'", "', b'"}', b"true", b"null", b"  ", b"\n", b" the", b"ab", b"<tool_call>", b"-1"]
WORDS += ["é".encode(), "中".encode(), "😀".encode()[:2], "😀".encode()[2:]]


class Words:
    """Every byte, some longer tokens, some control tokens; 2 and 3 end an answer."""

    def __init__(self, template: str = "") -> None:
        self.template = template
        self.pieces = [b"<unk>", *CONTROL, *(bytes([value]) for value in range(256)), *WORDS]
        self.vocabulary = len(self.pieces)

    def piece(self, token: int, *, aloud: bool = False) -> bytes:
        return self.pieces[token] if aloud or token > len(CONTROL) else b""

    def ends(self, token: int) -> bool:
        return token in (2, 3)

    @property
    def render(self) -> Any:
        return None if not self.template else self._rendered

    def _rendered(self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
        try:
            return rendered(self.template, turns, tools)
        except Exception as error:  # noqa: BLE001  (as the real one does)
            raise TemplateRefused(str(error)) from None

    def tokens_of(self, text: str, *, control: Sequence[int] = ()) -> list[int]:
        """Return ``text`` byte by byte; ``control`` tokens as one where they are written."""
        data, found = text.encode(), list[int]()
        while data:
            token = next((each for each in control if data.startswith(self.pieces[each])), 1 + len(CONTROL) + data[0])
            data = data[len(self.pieces[token]) :]
            found.append(token)
        return found


def rendered(template: str, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
    def refuse(message: str) -> None:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    made = environment.from_string(template)
    return made.render(messages=turns, tools=list(tools) or None, raise_exception=refuse, add_generation_prompt=True)


def allowed(shape: Shape, words: Words) -> list[int]:
    """Return the tokens that may follow."""
    assert shape.constraint is not None
    row = (ctypes.c_float * words.vocabulary)(*[0.5] * words.vocabulary)
    shape.constraint.forbid(ctypes.addressof(row))
    assert set(row) <= {0.5, float("-inf")}
    return [token for token, value in enumerate(row) if value == 0.5]


def babble(shape: Shape, words: Words, rng: random.Random, *, most: int = 400, patience: int = 40) -> str | None:
    """Say any tokens that may follow, until the end; None when ``most`` were not enough.

    Args:
        patience: after so many the end, a quote or a bracket is taken where it may be, so that it gets to an end.
    """
    assert shape.constraint is not None
    said = b""
    closing = [2, 3, *words.tokens_of('"}]\n')]
    for count in range(most):
        may = allowed(shape, words)
        assert may, f"nothing may follow {said!r}"
        hurried = [token for token in closing if token in may] if count > patience else []
        token = rng.choice(hurried or may)
        if words.ends(token):
            return said.decode()
        shape.constraint.take(token)
        said += words.pieces[token]
    return None


def say(shape: Shape, words: Words, text: str, *, control: Sequence[int] = ()) -> bool:
    """Say ``text`` byte by byte; return whether it may be said, and be all."""
    assert shape.constraint is not None
    for token in words.tokens_of(text, control=control):
        if token not in allowed(shape, words):
            return False
        shape.constraint.take(token)
    return 2 in allowed(shape, words)


def heard(pieces: Sequence[Piece]) -> tuple[str, list[tuple[str, str]]]:
    """Return the text and the calls in ``pieces``."""
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    calls: dict[int, list[str]] = {}
    for piece in pieces:
        if isinstance(piece, CallPiece):
            name, arguments = calls.setdefault(piece.index, [piece.name or "", ""])
            calls[piece.index] = [name, arguments + piece.arguments]
    return text, [(name, arguments) for name, arguments in calls.values()]
