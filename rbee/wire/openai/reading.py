"""Reading a body whose parts are made ready first, and all of whose problems are told at once."""

from collections.abc import Mapping
from typing import Any, TypeVar

from rbee.wire import bodies
from rbee.wire.bodies import Faults, Neutral, Problem

T = TypeVar("T")


def opened(body: Any, neutral: Neutral) -> tuple[dict[str, Any], list[Problem]]:
    """Return ``body`` as a dict, and what it asks for that is not supported. Raises InvalidRequest for no object."""
    given, faults = bodies.opened(body), Faults()
    faults.refuse_unless_neutral(given, neutral)
    return {str(key): value for key, value in given.items()}, faults.found


def read(kind: type[T], data: Mapping[str, Any], problems: list[Problem]) -> T:
    """Return ``data`` as a ``kind``, or raise with its problems and those found before, in one error."""
    faults = Faults(problems)
    made = bodies.whole(kind, data, faults)
    faults.done()
    return made
