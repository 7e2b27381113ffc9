"""What a chat says of tools."""

from collections.abc import Mapping
from typing import Any

from rbee.wire.bodies import Problem, shown
from rbee.wire.tools import ToolChoice


def tools_of(tools: Any, problems: list[Problem]) -> list[dict[str, Any]]:
    """Return ``tools`` as data of ``wire.tools.Tool``s."""
    if tools is None:
        return []
    if not isinstance(tools, list):
        problems.append(("tools", f"is {shown(tools)}, expected a list"))
        return []
    return [made for n, tool in enumerate(tools) if (made := _tool(tool, f"tools[{n}]", problems)) is not None]


def _tool(tool: Any, where: str, problems: list[Problem]) -> dict[str, Any] | None:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if kind != "function":
        problems.append((where, f"is of type {shown(kind)}, only functions are supported here"))
        return None
    if not isinstance(function, Mapping):
        problems.append((f"{where}.function", "is missing or no object"))
        return None
    made = {key: function[key] for key in ("name", "description", "parameters") if function.get(key) is not None}
    return {"name": "", **made}


def choice_of(choice: Any, problems: list[Problem]) -> dict[str, Any]:
    """Return the fields of a Generation that ``tool_choice`` sets."""
    if choice is None:
        return {}
    if isinstance(choice, str) and choice in list(ToolChoice):
        return {"tool_choice": choice}
    function = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        return {"tool_choice": ToolChoice.REQUIRED.value, "tool": function["name"]}
    wanted = 'auto, none, required or {"type": "function", "function": {"name": …}}'
    problems.append(("tool_choice", f"is {shown(choice)}, expected {wanted}"))
    return {}
