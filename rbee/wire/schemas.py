"""How large what is asked may be, schemas above all.

What it takes to be held to one is taken from everybody who is computed beside it.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.jobs import Generation

MOST_BYTES = 256 * 1024
"""As JSON without blanks; of all tools together."""

MOST_NESTING = 64
"""Objects and lists in each other; about thirty objects in objects."""

MOST_PROPERTIES, MOST_IN_ONE = 1000, 256
"""Of one schema, and of one object: where 500 may all be left out llguidance gives up, long before it is slow."""

MOST_MULTIPLE = 400
"""In units of its last digit. To divide takes as many states, each of which reads the vocabulary once."""

_HINT = "say the same with less, or ask for it in parts; docs/openai.md has the limits of schemas"


def refuse_excess(asked: Generation) -> None:
    """Raise InvalidRequest for schemas, and for texts with them, that are larger than it is worth to look at."""
    problems = list(_problems(asked))
    if problems:
        error = codec.invalid(problems)
        raise InvalidRequest(error.message, hint=_HINT, details=error.details)
    if too_long := list(asked.excess()):
        raise codec.invalid(too_long)


def _problems(asked: Generation) -> Iterator[codec.Problem]:
    schemas: dict[str, Any] = {} if asked.schema is None else {"schema": asked.schema}
    schemas |= {f"tools[{n}].parameters": tool.parameters for n, tool in enumerate(asked.tools)}
    left = MOST_BYTES
    for field, schema in schemas.items():
        found = list(_excess(schema))
        yield from ((field, problem) for problem in found)
        if found:
            continue
        size = codec.json_bytes(schema)
        if size > left:
            others = "" if left == MOST_BYTES else f", with {MOST_BYTES - left} before it"
            yield field, f"is {size} bytes{others}, expected at most {MOST_BYTES}"
            return
        left -= size


def _excess(schema: Any) -> Iterator[str]:
    """Yield what there is too much of in ``schema``; not recursive, and no longer than it takes to know that."""
    rest, seen, properties = [(schema, 1)], 0, 0
    while rest:
        value, depth = rest.pop()
        inner = value.values() if isinstance(value, Mapping) else value
        seen += len(inner)
        if isinstance(value, Mapping):
            named = value.get("properties")
            count = len(named) if isinstance(named, Mapping) else 0
            properties += count
            if count > MOST_IN_ONE:
                yield f"has {count} properties in one object, expected at most {MOST_IN_ONE}"
                return
            step = value.get("multipleOf")
            if _units(step) > MOST_MULTIPLE:
                yield f"has multipleOf {_shown(step)}, expected at most {MOST_MULTIPLE} in units of its last digit"
                return
        if depth > MOST_NESTING:
            yield f"has more than {MOST_NESTING} objects and lists in each other"
            return
        if properties > MOST_PROPERTIES:
            yield f"has {properties} properties or more, expected at most {MOST_PROPERTIES}"
            return
        if seen > MOST_BYTES:
            yield f"is {seen} bytes or more, expected at most {MOST_BYTES}"
            return
        rest += [(each, depth + 1) for each in inner if isinstance(each, Mapping | list | tuple)]


def _units(step: Any) -> Decimal:
    """Return a number in units of its last digit, 25 for 0.25; 0 for what is none."""
    if not isinstance(step, int | float) or isinstance(step, bool):
        return Decimal()
    if isinstance(step, float) and not math.isfinite(step):
        return Decimal()
    exact = Decimal(repr(step)).normalize()
    exponent = exact.as_tuple().exponent
    return exact.scaleb(max(0, -exponent)) if isinstance(exponent, int) else exact


def _shown(step: Any) -> str:
    said = repr(step)
    return said if len(said) <= 40 else f"{said[:37]}…"
