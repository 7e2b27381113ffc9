"""How a dialect's request is read: strictly where it would change the answer, leniently where not, every fault by name.

A field that we know and cannot honour is refused, unless its value asks for nothing. What is not known at all is let
through: a newer client has words that older ones did well without.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.fields import JOB_ID, MEBIBYTE, text
from rbee.wire.jobs import Generation

T = TypeVar("T")
Problem: TypeAlias = tuple[str, str]
Neutral: TypeAlias = Mapping[str, tuple[Any, ...]]
"""A field that is not supported → the values under which it asks for nothing."""

MOST_TOKENS = 32_768
SEEDS = 2**32 - 1
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
"""The schema of an answer that shall be JSON, whatever it says."""


@dataclass(slots=True)
class Faults:
    """What is wrong with one body, all of it, told at once."""

    found: list[Problem] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        self.found.append((where, what))

    def refuse(self, where: str, value: Any) -> None:
        self.add(where, f"is {shown(value)}, which is not supported here; leave it out")

    def refuse_unless_neutral(self, body: Mapping[str, Any], neutral: Neutral, where: str = "") -> None:
        for name, harmless in neutral.items():
            if name in body and not any(same(body[name], value) for value in harmless):
                self.refuse(joined(where, name), body[name])

    def of_generation(self, made: Generation, names: Mapping[str, str]) -> None:
        """Add what a Generation says of itself, by the ``names`` that its fields have in this dialect."""
        for name, what in (*made.problems(), *made.excess()):
            self.add(names.get(name, name), what)

    def done(self) -> None:
        """Raises InvalidRequest when there was any."""
        if self.found:
            raise codec.invalid(self.found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    text: str = text(longest=MEBIBYTE)


def opened(body: Any) -> Mapping[str, Any]:
    """Return ``body``, an object.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(body, Mapping):
        raise codec.invalid([("", "is not a JSON object")])
    return body


def part(kind: type[T], data: Any, where: str, faults: Faults) -> T | None:
    """Return what stands at ``where`` as a ``kind``; None where it is none, which is then among the faults."""
    try:
        return codec.from_dict(kind, data, lenient=True)
    except InvalidRequest as error:
        for each in error.details["fields"]:
            faults.add(joined(where, each["field"]), each["problem"])
        return None


def whole(kind: type[T], body: Mapping[str, Any], faults: Faults) -> T:
    """Return ``body`` as a ``kind``.

    Raises:
        InvalidRequest: it is none; with the faults found before.
    """
    read = part(kind, body, "", faults)
    if read is None:
        raise codec.invalid(faults.found)
    return read


def kind_of(data: Any, default: str = "") -> str:
    """Return the ``type`` of an item or block; ``default`` where it does not say."""
    given = data.get("type", default) if isinstance(data, Mapping) else default
    return given if isinstance(given, str) else shown(given)


def texts(content: Any, where: str, faults: Faults, kinds: Mapping[str, str]) -> list[str]:
    """Return the texts in ``content``, which is one, or a list of parts.

    Args:
        kinds: the types of parts that are text → the field that holds it.
    """
    if not isinstance(content, list):
        read = part(_Text, {"text": content}, "", Faults())
        if read is None:
            faults.add(where, f"is {shown(content)}, expected text, or a list of parts")
        return [] if read is None else [read.text]
    return [said for n, each in enumerate(content) for said in one_text(each, f"{where}[{n}]", faults, kinds)]


def one_text(data: Any, where: str, faults: Faults, kinds: Mapping[str, str]) -> Iterable[str]:
    """Return the text of one part; nothing where it is no text, which is then among the faults."""
    name = kinds.get(kind_of(data))
    if name is None:
        what = f"type {shown(data.get('type'))}" if isinstance(data, Mapping) else shown(data)
        faults.add(where, f"is {what}, only text is supported here: {', '.join(kinds)}")
        return ()
    found = part(_Text, {"text": data.get(name)}, where, faults)
    return () if found is None else (found.text,)


def each_of(items: Sequence[Any], where: str, read: Callable[[Any, str], T | None]) -> tuple[T, ...]:
    """Return what ``read`` makes of each item and its place, without those it could make nothing of."""
    made = (read(item, f"{where}[{n}]") for n, item in enumerate(items))
    return tuple(one for one in made if one is not None)


def stops(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def seed(given: int | None) -> int | None:
    """Return a seed that llama.cpp takes; the same number still means the same text."""
    return None if given is None else given % SEEDS


def session(user: str | None) -> str | None:
    """Return whom a client speaks for, as a name; what is none is hashed."""
    if not user or JOB_ID.fullmatch(user):
        return user or None
    return f"user-{sha256(user.encode()).hexdigest()[:16]}"


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` without what was not said: then the default holds."""
    return {name: value for name, value in values.items() if value is not None}


def same(one: Any, other: Any) -> bool:
    """JSON's equality: ``true`` is not ``1``."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def shown(value: Any) -> str:
    said = json.dumps(value, default=str)
    return said if len(said) <= 60 else f"{said[:57]}…"


def joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where and name else where or name
