"""JSON schemas as clients send them, said so that nothing of them is ignored."""

import re
from collections.abc import Iterator, Mapping
from typing import Any


class GrammarRefused(Exception):
    """An answer cannot be held to what is asked of it; the text names what it is."""


_ONE = ("items", "additionalProperties", "additionalItems", "contains", "not", "propertyNames")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_NEUTRAL: Mapping[str, Any] = {"uniqueItems": False, "dependentRequired": {}, "dependentSchemas": {}, "minContains": 0}
_UNSAYABLE = re.compile(r"[\x00-\x07\x0b\x0e-\x1f]")
_ANY_TEXT = ("password", "binary", "path", "file-path", "directory-path")
"""Formats, of pydantic's as well, that say how a text is used, and not how it is written."""
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


def normalised(schema: Any) -> Any:
    """Return ``schema`` with OpenAPI's ``nullable`` in JSON schema's own words, and without what asks for nothing.

    Raises:
        GrammarRefused: it wants more properties than it names, and one that is said twice would be counted twice; or
            a text that can only be written with \\u, which nobody is let write, since names could hide in it.
    """
    if not isinstance(schema, Mapping):
        return schema
    said = {key: value for key, value in schema.items() if not (key in _NEUTRAL and value == _NEUTRAL[key])}
    for key in _ONE:
        if isinstance(said.get(key), Mapping):
            said[key] = normalised(said[key])
    for key in _SEVERAL:
        if isinstance(said.get(key), list):
            said[key] = [normalised(each) for each in said[key]]
    for key in _NAMED:
        if isinstance(said.get(key), Mapping):
            said[key] = {name: normalised(each) for name, each in said[key].items()}
    for key in _COUNTS:
        if isinstance(said.get(key), float) and said[key].is_integer():
            said[key] = int(said[key])
    _refuse_unsure(said)
    return _nullable(said) if said.get("nullable") is True else said


def _refuse_unsure(said: dict[str, Any]) -> None:
    """Raise GrammarRefused for what the grammar would not be held to; take out what it need not be told."""
    names = said.get("properties")
    for text in _texts([said.get("const"), said.get("enum"), list(names) if isinstance(names, Mapping) else None]):
        if _UNSAYABLE.search(text):
            raise GrammarRefused(f"the control character in {text[:40]!r}")
    if said.get("format") in _ANY_TEXT:
        del said["format"]
    if isinstance(said.get("minProperties"), int):
        needed = said.get("required")
        sure = len({name for name in needed if isinstance(name, str)}) if isinstance(needed, list) else 0
        least = said.pop("minProperties")
        if least > sure:
            raise GrammarRefused(f"minProperties is {least}, and {sure} are required")


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """``nullable`` next to a type or a reference: null as well, whatever else is said of the others."""
    kept: dict[str, Any] = {key: schema.pop(key) for key in ("$defs", "definitions", "$schema") if key in schema}
    del schema["nullable"]
    return {**kept, "anyOf": [schema, {"type": "null"}]}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield name
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
