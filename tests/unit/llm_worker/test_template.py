from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from rbee.errors import InvalidRequest
from rbee.llm_worker.calling.told import turns_of
from rbee.llm_worker.template import TemplateRefused, Turn, render_chat
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import ToolCall

Tools = Mapping[str, Any]
SYSTEM, USER = Message(role=Role.SYSTEM, content="be brief"), Message(role=Role.USER, content="hi")


def plain(turns: Sequence[Turn], tools: Sequence[Tools] = ()) -> str:
    return "|".join(f"{turn['role']}:{turn['content']}" for turn in turns)


def no_system(turns: Sequence[Turn], tools: Sequence[Tools] = ()) -> str:
    if any(turn["role"] == "system" for turn in turns):
        raise TemplateRefused("System role not supported")
    return plain(turns)


def nobody(turns: Sequence[Turn], tools: Sequence[Tools] = ()) -> str:
    raise TemplateRefused("roles must alternate")


def test_messages_become_text() -> None:
    assert render_chat([SYSTEM, USER], plain, model="m") == "system:be brief|user:hi"


def test_a_template_is_told_who_speaks() -> None:
    def names(turns: Sequence[Turn], tools: Sequence[Tools] = ()) -> str:
        return "|".join(f"{turn['role']} {turn.get('name')}" for turn in turns)

    said = [SYSTEM, Message(role=Role.USER, content="hi", name="ann"), Message(role=Role.TOOL, content="1", name="t")]
    assert render_chat(said[:2], names, model="m") == "system None|user ann"
    assert render_chat(said, names, model="m") == "system None|user ann|user None"
    assert [turn.get("name") for turn in turns_of(said)] == [None, "ann", "t"]


@pytest.mark.parametrize("said", ["no JSON", "[" * 100_000, '{"a":' * 500 + "1" + "}" * 500])
def test_a_call_that_no_code_can_read_is_told_as_text(said: str) -> None:
    called = Message(role=Role.ASSISTANT, content="", tool_calls=(ToolCall(id="1", name="f", arguments=said),))
    (turn,) = turns_of([called])
    assert turn["tool_calls"][0]["function"] == {"name": "f", "arguments": {"arguments": said}}


def test_developer_is_todays_word_for_system() -> None:
    assert render_chat([Message(role=Role.DEVELOPER, content="x"), USER], plain, model="m") == "system:x|user:hi"


def test_a_template_without_system_gets_it_in_the_first_user_message() -> None:
    assert render_chat([SYSTEM, USER], no_system, model="m") == "user:be brief\n\nhi"


def test_a_system_message_alone_is_asked_as_a_user() -> None:
    assert render_chat([SYSTEM], no_system, model="m") == "user:be brief"


@pytest.mark.parametrize("messages", [[USER], [SYSTEM, USER]])
def test_what_the_template_refuses_is_the_callers_error(messages: list[Message]) -> None:
    with pytest.raises(InvalidRequest, match="roles must alternate") as caught:
        render_chat(messages, nobody, model="m")
    assert caught.value.details["fields"][0]["field"] == "messages"


def test_a_model_without_a_template_says_so() -> None:
    with pytest.raises(InvalidRequest, match="model m has no chat template"):
        render_chat([USER], None, model="m")
