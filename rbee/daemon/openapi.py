"""The OpenAPI 3.1 document of a daemon, read off its operations and their types."""

import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from rbee.errors import BY_CODE
from rbee.wire.fields import Rule
from rbee.wire.operations import Answer, Operation

_PLACEHOLDER = re.compile(r"<(\w+)>")
_SCALARS: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}


def document(title: str, version: str, operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Return the document; every operation may also answer with any error of the envelope."""
    paths: dict[str, dict[str, Any]] = {}
    kinds: dict[str, type[Any]] = {}
    for operation in operations:
        path = _PLACEHOLDER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
        for kind in (operation.request, operation.answer):
            kinds.update((found.__name__, found) for found in _reachable(kind))
    schemas = {name: _schema(kind) for name, kind in sorted(kinds.items())}
    schemas["Error"] = _ERROR
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}, {}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PLACEHOLDER.findall(operation.path)
        ],
        "responses": {str(operation.status): _answer(operation), "default": _content("Error", "any failure")},
    }
    if operation.request is not None and operation.method == "GET":
        made["parameters"] += list(_query(operation.request))
    elif operation.request is not None:
        made["requestBody"] = {"required": True, "content": _json({"$ref": _ref(operation.request)})}
    return made


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.form is Answer.EMPTY or operation.answer is None:
        return {"description": "done"}
    item = {"$ref": _ref(operation.answer)}
    if operation.form is Answer.STREAM:
        return {"description": "a stream of events", "content": {"text/event-stream": {"schema": item}}}
    schema = {"type": "array", "items": item} if operation.form is Answer.LIST else item
    return {"description": "done", "content": _json(schema)}


def _query(kind: type[Any]) -> Iterator[dict[str, Any]]:
    for name, schema in _schema(kind)["properties"].items():
        yield {"name": name, "in": "query", "schema": schema}


def _schema(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "properties": {field.name: _field(hints[field.name], field.metadata.get("rule")) for field in fields},
        "required": [f.name for f in fields if f.default is missing and f.default_factory is missing],
        "additionalProperties": False,
    }


def _field(hint: Any, rule: Rule | None) -> dict[str, Any]:
    schema = _type(hint)
    if rule is None:
        return schema
    target = schema["anyOf"][0] if "anyOf" in schema else schema
    bounds = {
        "array": {"minItems": rule.shortest, "maxItems": rule.longest},
        "string": {"minLength": rule.shortest, "maxLength": rule.longest},
    }.get(target.get("type", ""), {"minimum": rule.low, "maximum": rule.high})
    target.update({key: value for key, value in bounds.items() if value is not None})
    if rule.pattern is not None and target.get("type") == "string":
        target["pattern"] = f"^(?:{rule.pattern.pattern})$"
    words = " ".join(part for part in (f"in {rule.unit};" if rule.unit else "", rule.doc) if part).strip("; ")
    return {**schema, "description": words} if words else schema


def _type(hint: Any) -> dict[str, Any]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_type(arm) for arm in get_args(hint)]}
    if origin in (tuple, list):
        return {"type": "array", "items": _type(get_args(hint)[0])}
    if origin is not None:
        return {"type": "object", "additionalProperties": _type(get_args(hint)[1])}
    if dataclasses.is_dataclass(hint):
        return {"$ref": _ref(typing.cast(type[Any], hint))}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return dict(_SCALARS[hint])


def _reachable(kind: Any) -> Iterator[type[Any]]:
    """Yield ``kind`` and every dataclass its fields lead to."""
    if kind is None:
        return
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield from _reached(kind)
        return
    for arm in get_args(kind):
        yield from _reachable(arm)


@functools.cache
def _reached(kind: type[Any]) -> tuple[type[Any], ...]:
    inner = [found for hint in typing.get_type_hints(kind).values() for found in _reachable(hint)]
    return (kind, *inner)


def _ref(kind: type[Any]) -> str:
    return f"#/components/schemas/{kind.__name__}"


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _content(name: str, words: str) -> dict[str, Any]:
    return {"description": words, "content": _json({"$ref": f"#/components/schemas/{name}"})}


_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "details", "retriable", "request_id", "source"],
            "properties": {
                "code": {"type": "string", "enum": sorted(BY_CODE)},
                "message": {"type": "string"},
                "hint": {"type": "string"},
                "details": {"type": "object"},
                "retriable": {"type": "boolean"},
                "request_id": {"type": "string"},
                "source": {"type": "string"},
            },
        }
    },
}
