"""JSON ↔ dataclass. Every wrong field is found and named at once; nothing half-read gets through."""

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

from rbee.errors import InvalidRequest
from rbee.wire import quick
from rbee.wire.fields import Rule

T = TypeVar("T")
Problem = tuple[str, str]
_EMPTY = Rule()

DEEPEST = 100
"""Objects and lists within each other. What reads, checks and writes them calls itself for each; that has an end."""


def parse_json(body: bytes) -> Any:
    """Return the JSON value in ``body``.

    Raises:
        InvalidRequest: not UTF-8, not JSON, nested too deep, or with a number JSON has no word for.
    """
    try:
        return parse_text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None


def parse_text(body: str) -> Any:
    """Return the JSON value in ``body``; raises as ``parse_json``."""
    try:
        value = _DECODER.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise InvalidRequest(f"body is not JSON: {error}", hint="send an object, for example {}") from None
    if body.count("{") + body.count("[") > DEEPEST and _is_too_deep(value):
        raise _too_deep()
    return value


def dump_json(value: Any) -> str:
    """Return compact JSON of plain values or wire types."""
    return _ENCODER.encode(plain(value))


def json_bytes(value: Any) -> int:
    """Return how long ``dump_json`` of a plain value is, in UTF-8; without a copy of what is plain already."""
    return len(_ENCODER.encode(value).encode("utf-8", "replace"))


HALF = "holds half a surrogate pair, which is no character"
"""What is wrong with a text that is none."""


def is_text(value: Any) -> bool:
    """Say whether ``value`` holds characters only: JSON can spell halves of them, which nobody can be told."""
    try:
        dump_json(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def dump_text(value: str) -> str:
    """Return ``dump_json`` of a text."""
    return json.encoder.encode_basestring(value)


def plain(value: Any) -> Any:
    """Return ``value`` as JSON-able dicts, lists and scalars."""
    if type(value) in _ATOMS:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = ((name, getattr(value, name), unsaid) for name, unsaid in _fields_of(type(value)))
        return {name: plain(item) for name, item, unsaid in told if unsaid is _ALWAYS_SAID or item != unsaid}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return value


def from_dict(kind: type[T], data: Any, *, lenient: bool = False) -> T:
    """Return a ``kind`` made from ``data``.

    Args:
        lenient: ignore unknown fields (what a newer peer answers, or tells of itself); what is asked for is never
            read so.

    Raises:
        InvalidRequest: ``details["fields"]`` lists each wrong field with what was expected.
    """
    try:
        return typing.cast(T, quick.reader_of(kind)(data, lenient))  # type: ignore[arg-type]  # classes are hashable
    except quick.Odd:
        pass  # what it is that is odd is found out below
    problems: list[Problem] = []
    value = _dataclass(kind, data, "", problems, lenient)
    if problems:
        raise invalid(problems)
    return typing.cast(T, value)


def invalid(problems: list[Problem]) -> InvalidRequest:
    """Return the one error that names all ``problems``, as far as anybody would read them."""
    first = "; ".join(f"{where}: {what}" if where else f"body {what}" for where, what in problems[:5])
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return InvalidRequest(
        f"{first}{more}",
        details={"fields": [{"field": where, "problem": what} for where, what in problems[:_MOST_PROBLEMS]]},
    )


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        lists = (each.values() if type(each) is dict else each for each in level if type(each) in (dict, list))
        level = [inner for each in lists for inner in each if type(inner) in (dict, list)]
    return bool(level)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(
        f"body is nested too deep, expected at most {DEEPEST} objects and lists within each other",
        hint="flatten it; a JSON schema can name what repeats in $defs",
    )


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


_MOST_PROBLEMS = 100
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ALWAYS_SAID = object()
_ATOMS = frozenset({str, int, float, bool, type(None)})


@functools.cache
def _fields_of(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Return the names of its fields, each with the value that is left out; found out once."""
    return tuple(
        (field.name, field.default if field.metadata.get("rule", _EMPTY).sparse else _ALWAYS_SAID)
        for field in dataclasses.fields(kind)
    )


def _dataclass(kind: type[Any], data: Any, where: str, problems: list[Problem], lenient: bool) -> Any:
    if not isinstance(data, Mapping):
        problems.append((where, f"is {_kind(data)}, expected an object"))
        return None
    known = {f.name: f for f in dataclasses.fields(kind) if f.init}
    before = len(problems)
    if not lenient:
        problems.extend((_join(where, str(key)), "is not a known field") for key in data if key not in known)
    hints = quick.hints_of(kind)  # type: ignore[arg-type]  # classes are hashable
    values: dict[str, Any] = {}
    for field_name, field in known.items():
        here = _join(where, field_name)
        if field_name in data:
            rule = field.metadata.get("rule", _EMPTY)
            values[field_name] = _value(hints[field_name], data[field_name], here, rule, problems, lenient)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append((here, "is missing"))
    if len(problems) > before:
        return None
    made = kind(**values)
    check = getattr(made, "problems", None)
    if check is not None:
        problems.extend((_join(where, field_name), what) for field_name, what in check())
    return made


def _value(hint: Any, data: Any, where: str, rule: Rule, problems: list[Problem], lenient: bool) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in get_args(hint):
            return None
        inner = [arm for arm in get_args(hint) if arm is not type(None)]
        return _value(_arm(inner, data), data, where, rule, problems, lenient)
    if hint is Any:
        return data
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type[Any], hint), data, where, problems, lenient)
    if origin in (tuple, list):
        return _items(get_args(hint)[0], data, where, rule, problems, lenient)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(get_args(hint)[1], data, where, rule, problems, lenient)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint, data, where, problems)
    return _scalar(hint, data, where, rule, problems)


def _arm(arms: list[Any], data: Any) -> Any:
    """Choose the arm of a union that ``data`` looks like; the first when none does, so that it can complain."""
    for arm in arms:
        origin = get_origin(arm) or arm
        if origin in (tuple, list) and isinstance(data, list):
            return arm
        if isinstance(origin, type) and type(data) is origin:
            return arm
        if (dataclasses.is_dataclass(arm) or origin in (dict, Mapping)) and isinstance(data, Mapping):
            return arm
    return arms[0]


def _items(kind: Any, data: Any, where: str, rule: Rule, problems: list[Problem], lenient: bool) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        problems.append((where, f"is {_kind(data)}, expected a list"))
        return ()
    if rule.longest is not None and len(data) > rule.longest:
        problems.append((where, f"has {len(data)} items, expected at most {rule.longest}"))
    if rule.shortest and len(data) < rule.shortest:
        problems.append((where, f"has {len(data)} items, expected at least {rule.shortest}"))
    values: list[Any] = []
    for n, item in enumerate(data[: rule.longest]):
        if len(problems) >= _MOST_PROBLEMS:
            break
        values.append(_value(kind, item, f"{where}[{n}]", _EMPTY, problems, lenient))
    return tuple(values)


def _mapping(kind: Any, data: Any, where: str, rule: Rule, problems: list[Problem], lenient: bool) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        problems.append((where, f"is {_kind(data)}, expected an object"))
        return {}
    for key in data:
        if rule.pattern and not rule.pattern.fullmatch(str(key)):
            problems.append((_join(where, str(key)), f"has a name that does not match {rule.pattern.pattern}"))
    return {
        str(key): _value(kind, item, _join(where, str(key)), _EMPTY, problems, lenient) for key, item in data.items()
    }


def _enum(kind: type[enum.Enum], data: Any, where: str, problems: list[Problem]) -> enum.Enum | None:
    try:
        return kind(data)
    except ValueError:
        allowed = ", ".join(str(member.value) for member in kind)
        problems.append((where, f"is {_shown(data)}, expected one of {allowed}"))
        return None


def _scalar(kind: Any, data: Any, where: str, rule: Rule, problems: list[Problem]) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        data = float(data) if abs(data) < 1 << 53 else math.inf
    if kind is int and isinstance(data, float) and data.is_integer():
        data = int(data)
    if type(data) is not kind:
        problems.append((where, f"is {_kind(data)}, expected {_WORDS.get(kind, kind)}"))
        return None
    wrong = _text_problem(data, rule) if kind is str else _number_problem(data, rule)
    if wrong:
        problems.append((where, wrong))
    return data


def _text_problem(data: str, rule: Rule) -> str | None:
    try:
        size = len(data.encode("utf-8"))
    except UnicodeEncodeError:
        return HALF
    if "\0" in data and not rule.raw:
        return "holds a NUL character"
    if rule.longest is not None and size > rule.longest:
        return f"is {size} bytes long, expected at most {rule.longest}"
    if rule.shortest and size < rule.shortest:
        return "is empty" if size == 0 else f"is {size} bytes long, expected at least {rule.shortest}"
    if rule.pattern and not rule.pattern.fullmatch(data):
        return f"is {_shown(data)}, expected {rule.like or f'it to match {rule.pattern.pattern}'}"
    return None


def _number_problem(data: float | bool, rule: Rule) -> str | None:
    if isinstance(data, float) and not math.isfinite(data):
        return "is not a finite number"
    low, high = rule.low, rule.high
    if (low is not None and data < low) or (high is not None and data > high):
        unit = f" {rule.unit}" if rule.unit else ""
        return f"is {_shown(data)}, expected {_bound(low)}..{_bound(high)}{unit}"
    return None


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_KINDS = {str: "text", int: "a whole number", float: "a fraction", bool: "true or false", dict: "an object",
          list: "a list", type(None): "null"}  # fmt: skip


def _kind(data: Any) -> str:
    if isinstance(data, bool):
        return "true" if data else "false"
    return _KINDS.get(type(data), type(data).__name__)


def _shown(data: Any) -> str:
    shown = json.dumps(data, default=str)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if abs(value) < 1e6 else f"{int(value)}"


def _join(where: str, key: str) -> str:
    key = key if len(key) <= 64 else f"{key[:61]}…"
    return f"{where}.{key}" if where else key
