"""Dataclasses from JSON that is right, in little time: this runs for every token and every heartbeat.

A reader is made once for each type. Whatever is odd is left to ``codec``, which names each wrong field.
"""

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, Union, get_args, get_origin

from rbee.wire.fields import Rule

Reader: TypeAlias = Callable[[Any, bool], Any]
"""Takes a value, and whether fields that are not known are passed over."""

_EMPTY = Rule()
_EXACT = 1 << 53


class Odd(Exception):
    """Something about the value is not as expected, or not known here."""


@functools.cache
def hints_of(kind: type[Any]) -> dict[str, Any]:
    """Return the types of its fields; found out once."""
    return typing.get_type_hints(kind)


@functools.cache
def fields_of(kind: type[Any]) -> dict[str, Reader]:
    """Return what reads each of its fields."""
    rules = {each.name: each.metadata.get("rule", _EMPTY) for each in dataclasses.fields(kind) if each.init}
    return {name: _reader(hint, rules[name]) for name, hint in hints_of(kind).items() if name in rules}  # type: ignore[arg-type]


@functools.cache
def reader_of(kind: type[Any]) -> Reader:
    """Return what makes a ``kind``, a dataclass, of a JSON object; it raises Odd."""
    known = [each for each in dataclasses.fields(kind) if each.init]
    readers = fields_of(kind)  # type: ignore[arg-type]  # classes are hashable
    names = frozenset(readers)
    nothing = dataclasses.MISSING
    needed = {each.name for each in known if each.default is nothing and each.default_factory is nothing}
    check = getattr(kind, "problems", None)

    def read(data: Any, lenient: bool) -> Any:
        if type(data) is not dict or not needed <= data.keys():
            raise Odd
        if data.keys() <= names:
            values = {name: readers[name](value, lenient) for name, value in data.items()}
        elif lenient:
            values = {name: readers[name](value, lenient) for name, value in data.items() if name in names}
        else:
            raise Odd
        made = kind(**values)
        if check is not None and next(iter(check(made)), None) is not None:
            raise Odd
        return made

    return read


def _reader(hint: Any, rule: Rule) -> Reader:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _optional(hint, rule)
    if hint is Any:
        return lambda data, _: data
    if dataclasses.is_dataclass(hint):
        return reader_of(hint)  # type: ignore[arg-type]  # classes are hashable
    if origin in (tuple, list):
        return _items(_reader(get_args(hint)[0], _EMPTY), rule)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(_reader(get_args(hint)[1], _EMPTY), rule)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _member(hint)
    return {str: _text, int: _whole, float: _number, bool: _truth}.get(hint, _unknown)(rule)


def _optional(hint: Any, rule: Rule) -> Reader:
    arms = [arm for arm in get_args(hint) if arm is not type(None)]
    if len(arms) != 1 or len(arms) == len(get_args(hint)):
        return _unknown(rule)
    inner = _reader(arms[0], rule)
    return lambda data, lenient: None if data is None else inner(data, lenient)


def _items(inner: Reader, rule: Rule) -> Reader:
    longest, shortest = math.inf if rule.longest is None else rule.longest, rule.shortest or 0

    def read(data: Any, lenient: bool) -> Any:
        if type(data) is not list or not shortest <= len(data) <= longest:
            raise Odd
        return tuple([inner(each, lenient) for each in data])

    return read


def _mapping(inner: Reader, rule: Rule) -> Reader:
    pattern = rule.pattern

    def read(data: Any, lenient: bool) -> Any:
        if type(data) is not dict or (pattern and not all(map(pattern.fullmatch, data))):
            raise Odd
        return {key: inner(each, lenient) for key, each in data.items()}

    return read


def _member(kind: type[enum.Enum]) -> Reader:
    members = {each.value: each for each in kind}

    def read(data: Any, _: bool) -> Any:
        if type(data) is not str or data not in members:
            raise Odd
        return members[data]

    return read


def _text(rule: Rule) -> Reader:
    longest = math.inf if rule.longest is None else rule.longest
    shortest, pattern, raw = rule.shortest or 0, rule.pattern, rule.raw

    def read(data: Any, _: bool) -> Any:
        if type(data) is not str or ("\0" in data and not raw):
            raise Odd
        try:
            size = len(data) if data.isascii() else len(data.encode())
        except UnicodeEncodeError:
            raise Odd from None
        if not shortest <= size <= longest or (pattern and not pattern.fullmatch(data)):
            raise Odd
        return data

    return read


def _whole(rule: Rule) -> Reader:
    low, high = _bounds(rule)

    def read(data: Any, _: bool) -> Any:
        if type(data) is not int or not low <= data <= high:
            raise Odd
        return data

    return read


def _number(rule: Rule) -> Reader:
    low, high = _bounds(rule)

    def read(data: Any, _: bool) -> Any:
        if type(data) is int and abs(data) < _EXACT:
            data = float(data)
        if type(data) is not float or not math.isfinite(data) or not low <= data <= high:
            raise Odd
        return data

    return read


def _truth(_: Rule) -> Reader:
    def read(data: Any, _: bool) -> Any:
        if type(data) is not bool:
            raise Odd
        return data

    return read


def _unknown(_: Rule) -> Reader:
    def read(_: Any, __: bool) -> Any:
        raise Odd

    return read


def _bounds(rule: Rule) -> tuple[float, float]:
    return -math.inf if rule.low is None else rule.low, math.inf if rule.high is None else rule.high
