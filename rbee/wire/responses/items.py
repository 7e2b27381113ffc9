"""Items of a conversation, as Responses has them, as messages: what was said, calls of tools, and what these gave."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rbee.wire.bodies import Faults, each_of, kind_of, part, shown, texts
from rbee.wire.fields import MEBIBYTE, text
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import TOOL_NAME, ToolCall

_TEXTS: Mapping[str, str] = {"input_text": "text", "output_text": "text", "refusal": "refusal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    call_id: str = text(longest=200, shortest=1)
    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    arguments: str = text(longest=MEBIBYTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    call_id: str = text(longest=200, shortest=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speaker:
    role: Role


def messages_of(given: Any, where: str, faults: Faults) -> tuple[Message, ...]:
    """Return a text, or a list of items, as messages; calls that follow each other are one message of the assistant."""
    if isinstance(given, str):
        return tuple(Message(role=Role.USER, content=each) for each in texts(given, where, faults, _TEXTS))
    if not isinstance(given, list | tuple):
        faults.add(where, f"is {shown(given)}, expected text, or a list of items")
        return ()
    if not 1 <= len(given) <= 1000:
        faults.add(where, f"has {len(given)} items, expected 1..1000")
    return _joined(each_of(given, where, lambda item, place: _message(item, place, faults)))


def _message(item: Any, where: str, faults: Faults) -> Message | None:
    kind = kind_of(item, "message")
    read = _READERS.get(kind)
    if read is None:
        hint = "; send the item itself, or previous_response_id" if kind == "item_reference" else ""
        faults.add(f"{where}.type", f"is {kind!r}, only {', '.join(_READERS)} are supported here{hint}")
        return None
    return read(item, where, faults)


def _said(item: Any, where: str, faults: Faults) -> Message | None:
    speaker = part(_Speaker, item, where, faults)
    if speaker is None:
        return None
    if speaker.role is Role.TOOL:
        faults.add(f"{where}.role", "is 'tool', expected an item of type function_call_output")
        return None
    said = "".join(texts(item.get("content"), f"{where}.content", faults, _TEXTS))
    return Message(role=speaker.role, content=said)


def _called(item: Any, where: str, faults: Faults) -> Message | None:
    call = part(_Call, item, where, faults)
    if call is None:
        return None
    made = ToolCall(id=call.call_id, name=call.name, arguments=call.arguments)
    return Message(role=Role.ASSISTANT, content="", tool_calls=(made,))


def _gave(item: Any, where: str, faults: Faults) -> Message | None:
    output = part(_Output, item, where, faults)
    said = "".join(texts(item.get("output"), f"{where}.output", faults, _TEXTS))
    return None if output is None else Message(role=Role.TOOL, content=said, tool_call_id=output.call_id)


_READERS: Mapping[str, Callable[[Any, str, Faults], Message | None]] = {
    "message": _said,
    "function_call": _called,
    "function_call_output": _gave,
}


def _joined(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return ``messages`` with each call in the message of the assistant's before it, as models know it."""
    made: list[Message] = []
    for message in messages:
        if message.tool_calls and made and made[-1].role is Role.ASSISTANT:
            made[-1] = replace(made[-1], tool_calls=(*made[-1].tool_calls, *message.tool_calls))
        else:
            made.append(message)
    return tuple(made)


def said_again(output: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Return the output of an answer of ours as what the assistant said, all of it: it is not read as a caller's."""
    return _joined(map(_said_by_us, output))


def _said_by_us(item: Mapping[str, Any]) -> Message:
    if item["type"] == "function_call":
        call = ToolCall(id=item["call_id"], name=item["name"], arguments=_without_nul(item["arguments"]))
        return Message(role=Role.ASSISTANT, content="", tool_calls=(call,))
    said = "".join(part["text"] for part in item["content"])
    return Message(role=Role.ASSISTANT, content=_without_nul(said))


def _without_nul(said: str) -> str:
    """A model may say NUL, but no message may hold it."""
    return said.replace("\0", "\N{REPLACEMENT CHARACTER}")
