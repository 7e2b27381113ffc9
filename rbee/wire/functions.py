"""Functions that an answer may call, as the dialects describe and choose them; and what a call says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.bodies import Faults, each_of, kind_of, part, shown
from rbee.wire.fields import text
from rbee.wire.jobs import MOST_TOOLS
from rbee.wire.tools import TOOL_NAME, Tool, ToolChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    description: str | None = text(longest=65_536, default=None)
    parameters: Mapping[str, Any] | None = None


def function_of(data: Any, where: str, faults: Faults) -> Tool | None:
    """Return what stands at ``where`` as a tool; None where it is none, which is then among the faults."""
    read = part(_Function, data, where, faults)
    if read is None:
        return None
    return Tool(name=read.name, description=read.description or "", parameters=read.parameters or {})


def tools_of(given: Any, faults: Faults, read: Callable[[Any, str], Tool | None]) -> tuple[Tool, ...]:
    """Return what ``read`` makes of each tool and its place."""
    if given is None:
        return ()
    if not isinstance(given, list):
        faults.add("tools", f"is {shown(given)}, expected a list")
        return ()
    if len(given) > MOST_TOOLS:
        faults.add("tools", f"has {len(given)} items, expected at most {MOST_TOOLS}")
    return each_of(given[:MOST_TOOLS], "tools", read)


def choice_of(wanted: Any, faults: Faults, *, inside: str = "") -> tuple[ToolChoice, str | None]:
    """Return whether the model calls, and the one function that it has to.

    Args:
        inside: the field that holds the function's name where that does not stand beside the type.
    """
    if wanted is None:
        return ToolChoice.AUTO, None
    if isinstance(wanted, str) and wanted in list(ToolChoice):
        return ToolChoice(wanted), None
    named = wanted.get(inside) if inside and isinstance(wanted, Mapping) else wanted
    if kind_of(wanted) == "function" and isinstance(named, Mapping) and isinstance(named.get("name"), str):
        return ToolChoice.REQUIRED, named["name"]
    faults.add("tool_choice", f"is {shown(wanted)}, expected auto, none, required, or a function by its name")
    return ToolChoice.AUTO, None


def arguments_of(said: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; those of an answer that was cut short are none."""
    try:
        read = codec.parse_text(said or "{}")
    except InvalidRequest:
        return {}
    return read if isinstance(read, dict) else {}
