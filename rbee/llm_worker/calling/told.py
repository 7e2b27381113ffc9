"""Tools and their calls as chat templates want them, and in words of ours where a template wants none."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import Tool, ToolCall

Turn: TypeAlias = Mapping[str, Any]
"""A message as templates know one."""

PROBE = Tool(name="rbee_probe", description="finds out what a template does with tools")

_SHORT = 9


def function_of(tool: Tool) -> dict[str, Any]:
    """Return ``tool`` as templates are told of one."""
    about = {"name": tool.name, "description": tool.description, "parameters": parameters_of(tool)}
    return {"type": "function", "function": about}


def parameters_of(tool: Tool) -> dict[str, Any]:
    """Return the schema of the tool's arguments, which are an object, and never null; one that names none takes none.

    ``type`` holds beside whatever else is said: of a reference or alternatives only what is an object is left.
    """
    if not tool.parameters:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    said = {key: value for key, value in tool.parameters.items() if key != "nullable"}
    return {**said, "type": "object"}


def turns_of(messages: Sequence[Message], *, short_ids: bool = False, as_text: bool = False) -> list[Turn]:
    """Return ``messages`` as templates take them.

    Args:
        short_ids: ids of calls have nine letters and digits.
        as_text: the arguments of calls as JSON text; most templates want the object.
    """
    names: dict[str, str] = {}
    return [_turn(message, names, short_ids, as_text) for message in messages]


def turns_in_words(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Turn]:
    """Return ``messages`` for a template that knows of no tools: all about them is text, as Hermes models have it."""
    turns: list[Turn] = [_in_words(message) for message in messages]
    if not tools:
        return turns
    orders = "\n\n".join(str(turn["content"]) for turn in turns[:1] if turn["role"] == Role.SYSTEM)
    first = "\n\n".join(part for part in (orders, _about(tools)) if part)
    return [{"role": Role.SYSTEM.value, "content": first}, *(turns[1:] if orders else turns)]


def speaks_of_tools(messages: Sequence[Message]) -> bool:
    return any(message.tool_calls or message.role is Role.TOOL for message in messages)


def role_of(message: Message) -> str:
    """OpenAI renamed ``system`` to ``developer``; no model was trained on the new word."""
    return (Role.SYSTEM if message.role is Role.DEVELOPER else message.role).value


def short_id(call: str) -> str:
    """Return ``call`` if it is short already, else nine letters and digits that stand for it."""
    if len(call) == _SHORT and call.isascii() and call.isalnum():
        return call
    return hashlib.sha256(call.encode()).hexdigest()[:_SHORT]


def _turn(message: Message, names: dict[str, str], short_ids: bool, as_text: bool) -> Turn:
    turn: dict[str, Any] = {"role": role_of(message), "content": message.content}
    shown = short_id if short_ids else str
    if message.tool_calls:
        names.update({call.id: call.name for call in message.tool_calls})
        turn["tool_calls"] = [
            {
                "id": shown(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments if as_text else _object(call)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = shown(message.tool_call_id)
        turn["name"] = names.get(message.tool_call_id, "")
    return {**turn, **_name(message)}


def _name(message: Message) -> Turn:
    return {} if message.name is None else {"name": message.name}


def _object(call: ToolCall) -> Any:
    """Return the arguments as an object; what a caller sends as somebody's call may be no JSON at all."""
    try:
        return codec.parse_text(call.arguments or "{}")
    except InvalidRequest:
        return {"arguments": call.arguments}


def _in_words(message: Message) -> Turn:
    if message.role is Role.TOOL:
        return {"role": Role.USER.value, "content": f"<tool_response>\n{message.content}\n</tool_response>"}
    calls = "\n".join(_call_in_words(call) for call in message.tool_calls)
    said = "\n".join(part for part in (message.content, calls) if part)
    return {"role": role_of(message), "content": said, **_name(message)}


def _call_in_words(call: ToolCall) -> str:
    said = json.dumps({"name": call.name, "arguments": _object(call)}, ensure_ascii=False)
    return f"<tool_call>\n{said}\n</tool_call>"


def _about(tools: Sequence[Tool]) -> str:
    listed = "\n".join(json.dumps(function_of(tool), ensure_ascii=False) for tool in tools)
    return (
        "You can call functions. These there are, one a line, with the JSON schema of their parameters:\n"
        f"<tools>\n{listed}\n</tools>\n"
        "To call one, answer with its name and arguments as JSON between tags, and nothing after it:\n"
        '<tool_call>\n{"name": "<name>", "arguments": {<arguments>}}\n</tool_call>\n'
        "You then get what it returned between <tool_response> tags. Where no function helps, just answer."
    )
