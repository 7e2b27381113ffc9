"""Messages made of blocks as messages: text, uses of tools, and what these gave."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rbee.wire import codec
from rbee.wire.bodies import Faults, kind_of, one_text, part, shown, texts
from rbee.wire.fields import plain, text
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import TOOL_NAME, ToolCall

TEXTS: Mapping[str, str] = {"text": "text"}
_ROLES: Mapping[str, Role] = {each.value: each for each in (Role.USER, Role.ASSISTANT, Role.SYSTEM)}
_APART = "\n"
"""Between blocks of text that have to become one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    id: str = text(longest=200, shortest=1)
    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    input: Mapping[str, Any] = plain()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    tool_use_id: str = text(longest=200, shortest=1)
    is_error: bool | None = None


def system_of(given: Any, faults: Faults) -> tuple[Message, ...]:
    """Return what goes before all messages."""
    said = _APART.join(texts(given, "system", faults, TEXTS)) if given is not None else ""
    return (Message(role=Role.SYSTEM, content=said),) if said else ()


def messages_of(given: Any, where: str, faults: Faults) -> tuple[Message, ...]:
    """Return messages; those of one role that follow each other are one turn."""
    if not isinstance(given, list) or not 1 <= len(given) <= 1000:
        faults.add(where, f"is {shown(given)}, expected a list of 1..1000 messages")
        return ()
    made = [said for n, each in enumerate(given) for said in _message(each, f"{where}[{n}]", faults)]
    if made and made[-1].role is Role.ASSISTANT:
        faults.add(
            f"{where}[{len(given) - 1}].role", "is 'assistant': an answer that was begun cannot be gone on with here"
        )
    return _turns(made)


def _message(given: Any, where: str, faults: Faults) -> Iterable[Message]:
    if not isinstance(given, Mapping):
        faults.add(where, f"is {shown(given)}, expected an object")
        return ()
    role, content = _ROLES.get(str(given.get("role"))), given.get("content")
    if role is None:
        faults.add(f"{where}.role", f"is {shown(given.get('role'))}, expected {', '.join(_ROLES)}")
        return ()
    if not isinstance(content, list):
        return (Message(role=role, content=_APART.join(texts(content, f"{where}.content", faults, TEXTS))),)
    blocks = [_block(block, role, f"{where}.content[{n}]", faults) for n, block in enumerate(content)]
    return [message for message in blocks if message is not None]


def _block(block: Any, role: Role, where: str, faults: Faults) -> Message | None:
    match kind_of(block), role:
        case "tool_use", Role.ASSISTANT:
            return _use(block, where, faults)
        case "tool_result", Role.USER:
            return _result(block, where, faults)
        case ("tool_use" | "tool_result") as kind, _:
            faults.add(where, f"is a {kind} of the {role.value}'s, which it is not for")
            return None
    found = list(one_text(block, where, faults, TEXTS))
    return Message(role=role, content=found[0]) if found else None


def _use(block: Any, where: str, faults: Faults) -> Message | None:
    use = part(_Use, block, where, faults)
    if use is None:
        return None
    call = ToolCall(id=use.id, name=use.name, arguments=codec.dump_json(use.input))
    return Message(role=Role.ASSISTANT, content="", tool_calls=(call,))


def _result(block: Any, where: str, faults: Faults) -> Message | None:
    result = part(_Result, block, where, faults)
    content = block.get("content")
    said = "" if content is None else _APART.join(texts(content, f"{where}.content", faults, TEXTS))
    if result is None:
        return None
    # models are told of an error in words: templates have no other place for it
    said = f"error: {said}" if result.is_error else said
    return Message(role=Role.TOOL, content=said, tool_call_id=result.tool_use_id)


def _turns(messages: Iterable[Message]) -> tuple[Message, ...]:
    made: list[Message] = []
    for message in messages:
        if made and made[-1].role is message.role and message.role is not Role.TOOL:
            said = _APART.join(each for each in (made[-1].content, message.content) if each)
            calls = (*made[-1].tool_calls, *message.tool_calls)
            made[-1] = replace(made[-1], content=said, tool_calls=calls)
        else:
            made.append(message)
    return tuple(made)
