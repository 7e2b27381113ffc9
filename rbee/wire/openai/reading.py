"""Reading a body: strictly where a field changes the answer, leniently where not."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

from rbee.errors import InvalidRequest
from rbee.wire import codec

Problem: TypeAlias = tuple[str, str]
Neutral: TypeAlias = Mapping[str, tuple[Any, ...]]
"""Values under which a field that is not supported asks for nothing; any other is refused."""

T = TypeVar("T")


def opened(body: Any, neutral: Neutral) -> tuple[dict[str, Any], list[Problem]]:
    """Return ``body`` as a dict, and what it asks for that is not supported. Raises InvalidRequest for no object."""
    if not isinstance(body, Mapping):
        raise codec.invalid([("", "is not a JSON object")])
    problems = [
        (field, f"is {shown(body[field])}, which is not supported here; leave it out")
        for field, harmless in neutral.items()
        if field in body and not any(_equal(body[field], value) for value in harmless)
    ]
    return {str(key): value for key, value in body.items()}, problems


def read(kind: type[T], data: Mapping[str, Any], problems: list[Problem]) -> T:
    """Return ``data`` as a ``kind``, or raise with its problems and those found before, in one error."""
    try:
        made = codec.from_dict(kind, data, lenient=True)
    except InvalidRequest as error:
        found = [(each["field"], each["problem"]) for each in error.details["fields"]]
        raise codec.invalid(problems + found) from None
    if problems:
        raise codec.invalid(problems)
    return made


def shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _equal(given: Any, neutral: Any) -> bool:
    """JSON's equality: ``true`` is not ``1``."""
    return isinstance(given, bool) == isinstance(neutral, bool) and bool(given == neutral)
