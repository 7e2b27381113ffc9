"""How an answer has to look, as OpenAI and Anthropic say it: a ``type``, and for one of them a schema."""

from collections.abc import Mapping, Sequence
from typing import Any

from rbee.wire.bodies import ANY_OBJECT, Faults, shown

OPENAIS = ("text", "json_object", "json_schema")


def schema_of(
    wanted: Any, where: str, faults: Faults, *, types: Sequence[str] = OPENAIS, inside: str = ""
) -> Mapping[str, Any] | None:
    """Return the JSON schema that ``wanted`` asks for; None where an answer may look as it likes.

    Args:
        types: those that the dialect has.
        inside: the field that holds the schema where it does not stand beside the type.
    """
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping):
        faults.add(where, f"is {shown(wanted)}, expected an object")
        return None
    kind = wanted.get("type")
    if kind not in types:
        said = "is missing" if kind is None else f"is {shown(kind)}"
        faults.add(f"{where}.type", f"{said}, expected {' or '.join(types)}")
        return None
    if kind != "json_schema":
        return ANY_OBJECT if kind == "json_object" else None
    holder = wanted.get(inside) if inside else wanted
    schema = holder.get("schema") if isinstance(holder, Mapping) else None
    if not isinstance(schema, Mapping):
        faults.add(f"{where}.{inside}.schema" if inside else f"{where}.schema", "is missing or no object")
        return None
    return schema
