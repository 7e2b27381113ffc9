"""Ollama's messages as ours. Its calls of tools have no names of their own; here they get some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbee.wire import codec
from rbee.wire.bodies import Faults, each_of, part, shown
from rbee.wire.fields import MEBIBYTE, items, plain, text
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import TOOL_NAME, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    arguments: Mapping[str, Any] = plain({})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    function: _Function
    id: str | None = text(longest=200, shortest=1, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: Role
    content: str | None = text(longest=MEBIBYTE, default=None)
    images: tuple[Any, ...] | None = None
    tool_calls: tuple[_Call, ...] | None = items(longest=128, default=None)
    tool_call_id: str | None = text(longest=200, shortest=1, default=None)
    tool_name: str | None = text(longest=64, default=None)


def messages_of(given: Any, where: str, faults: Faults) -> tuple[Message, ...]:
    if not isinstance(given, list) or len(given) > 1000:
        faults.add(where, f"is {shown(given)}, expected a list of at most 1000 messages")
        return ()
    awaited: list[ToolCall] = []
    return each_of(given, where, lambda each, place: _message(each, place, faults, awaited))


def _message(given: Any, where: str, faults: Faults, awaited: list[ToolCall]) -> Message | None:
    """Return one message.

    Args:
        awaited: the calls that nothing was given for yet, in order.
    """
    read = part(_Message, given, where, faults)
    if read is None:
        return None
    if read.images:
        faults.add(f"{where}.images", f"has {len(read.images)}, images are not supported here")
    if read.tool_calls and read.role is not Role.ASSISTANT:
        faults.add(f"{where}.tool_calls", f"are the assistant's, not the {read.role.value}'s")
    calls = tuple(_called(call, f"{where}.{n}") for n, call in enumerate(read.tool_calls or ()))
    awaited += calls
    answers, tool = None, read.tool_name or None
    if read.role is Role.TOOL:
        answers = read.tool_call_id or _answered(awaited, tool)
        awaited[:] = [each for each in awaited if each.id != answers]
    return Message(role=read.role, content=read.content or "", tool_calls=calls, tool_call_id=answers, name=tool)


def _answered(awaited: Sequence[ToolCall], tool: str | None) -> str | None:
    """Return the first call that waits, of the tool that was named; a message may name one that nobody called."""
    return next((call.id for call in awaited if tool in (None, call.name)), None)


def _called(call: _Call, place: str) -> ToolCall:
    return ToolCall(
        id=call.id or f"call-{place}", name=call.function.name, arguments=codec.dump_json(call.function.arguments)
    )
