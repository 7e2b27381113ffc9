"""Messages of a chat: contents as one text, and calls of tools as ours."""

from collections.abc import Mapping
from typing import Any

from rbee.wire.bodies import Problem, shown


def flat(messages: Any, problems: list[Problem]) -> Any:
    """Return ``messages`` as data of ``wire.jobs.Message``s; what is no list of objects is left for the codec."""
    if not isinstance(messages, list):
        return messages
    return [_message(message, f"messages[{n}]", problems) for n, message in enumerate(messages)]


def _message(message: Any, where: str, problems: list[Problem]) -> Any:
    if not isinstance(message, Mapping):
        return message
    problems.extend(
        (f"{where}.{key}", "is not supported here; leave it out")
        for key in ("function_call", "audio")
        if message.get(key)
    )
    told = {str(key): value for key, value in message.items()}
    if isinstance(told.get("content"), list):
        told["content"] = joined(told["content"], f"{where}.content", problems)
    if told.get("role") == "assistant" and told.get("content") in (None, ""):
        told["content"] = told["refusal"] if isinstance(told.get("refusal"), str) else ""
    if told.get("role") == "tool" and told.get("tool_call_id") is None:
        problems.append((f"{where}.tool_call_id", "is missing"))
    calls = told.pop("tool_calls", None)
    if calls:
        told["tool_calls"] = _calls(calls, told.get("role"), f"{where}.tool_calls", problems)
    return told


def joined(parts: list[Any], where: str, problems: list[Problem]) -> str:
    """Return the text of ``parts``; a part that is no text is a problem."""
    texts: list[str] = []
    for n, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get(kind) if isinstance(part, Mapping) and kind in ("text", "refusal") else None
        if isinstance(text, str):
            texts.append(text)
        elif kind in ("text", "refusal"):
            problems.append((f"{where}[{n}].{kind}", "is missing or no text"))
        else:
            what = f"type {shown(kind)}" if kind is not None else shown(part)
            problems.append((f"{where}[{n}]", f"is {what}, only text parts are supported here"))
    return "".join(texts)


def _calls(calls: Any, role: Any, where: str, problems: list[Problem]) -> Any:
    if role != "assistant":
        problems.append((where, "are an assistant's"))
        return []
    return (
        [_call(call, f"{where}[{n}]", problems) for n, call in enumerate(calls)] if isinstance(calls, list) else calls
    )


def _call(call: Any, where: str, problems: list[Problem]) -> Any:
    if not isinstance(call, Mapping):
        return call
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        problems.append((where, f"is of type {shown(call.get('type'))}, only functions are supported here"))
        return {"id": "-", "name": "-"}
    said = {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}
    return {key: value for key, value in said.items() if value is not None}
