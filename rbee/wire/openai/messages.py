"""Messages of a chat: contents as one text, and calls of tools as ours."""

from collections.abc import Mapping
from typing import Any

from rbee.wire.bodies import Faults, shown, texts

_TEXTS: Mapping[str, str] = {"text": "text", "refusal": "refusal"}


def flat(messages: Any, faults: Faults) -> Any:
    """Return ``messages`` as data of ``wire.jobs.Message``s; what is no list of objects is left for the codec."""
    if not isinstance(messages, list):
        return messages
    return [_message(message, f"messages[{n}]", faults) for n, message in enumerate(messages)]


def _message(message: Any, where: str, faults: Faults) -> Any:
    if not isinstance(message, Mapping):
        return message
    for key in ("function_call", "audio"):
        if message.get(key):
            faults.add(f"{where}.{key}", "is not supported here; leave it out")
    told = {str(key): value for key, value in message.items()}
    if isinstance(told.get("content"), list):
        told["content"] = "".join(texts(told["content"], f"{where}.content", faults, _TEXTS))
    if told.get("role") == "assistant" and told.get("content") in (None, ""):
        told["content"] = told["refusal"] if isinstance(told.get("refusal"), str) else ""
    if told.get("role") == "tool" and told.get("tool_call_id") is None:
        faults.add(f"{where}.tool_call_id", "is missing")
    calls = told.pop("tool_calls", None)
    if calls:
        told["tool_calls"] = _calls(calls, told.get("role"), f"{where}.tool_calls", faults)
    return told


def _calls(calls: Any, role: Any, where: str, faults: Faults) -> Any:
    if role != "assistant":
        faults.add(where, "are an assistant's")
        return []
    return [_call(call, f"{where}[{n}]", faults) for n, call in enumerate(calls)] if isinstance(calls, list) else calls


def _call(call: Any, where: str, faults: Faults) -> Any:
    if not isinstance(call, Mapping):
        return call
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        faults.add(where, f"is of type {shown(call.get('type'))}, only functions are supported here")
        return {"id": "-", "name": "-"}
    said = {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}
    return {key: value for key, value in said.items() if value is not None}
