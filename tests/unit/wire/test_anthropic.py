"""Anthropic's Messages: requests and answers, checked against the official package's own types."""

import json
from typing import Any

import pytest
from anthropic.types import Message as TheirMessage
from anthropic.types import ModelInfo, RawMessageStreamEvent
from pydantic import TypeAdapter

from rbee.errors import BY_CODE, InvalidRequest, ModelNotFound, NoCapacity, QueueFull, RbeeError, Unauthorized
from rbee.wire import anthropic
from rbee.wire.events import End, JobEvent, StopReason
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import ToolCall, ToolChoice
from tests.unit.wire.story import CALLED, STARTED, STORY, ended

STREAMED: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
WEATHER = {"name": "weather", "input_schema": {"type": "object"}}
USER = {"role": "user", "content": "hi"}
FORMAT = {"type": "json_schema", "schema": {}}


def asked(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "max_tokens": 9, "messages": [USER], **extra}


def answer() -> anthropic.Answer:
    return anthropic.Answer(id="msg_ab12", model="tiny")


def wrong_fields(body: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        anthropic.parse(body)
    return [each["field"] for each in caught.value.details["fields"]]


def streamed(story: list[JobEvent]) -> list[Any]:
    one = answer()
    frames = [frame for event in story for frame in one.frames(event)]
    assert all(json.loads(frame.data)["type"] == frame.event for frame in frames)
    return [STREAMED.validate_python(json.loads(frame.data), strict=True) for frame in frames if frame.event != "ping"]


# --- requests -----------------------------------------------------------------------------------------------


def test_a_message_becomes_a_job() -> None:
    spec = anthropic.parse(asked(system=[{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}])).spec
    assert spec.messages == (Message(role=Role.SYSTEM, content="Be\nbrief."), Message(role=Role.USER, content="hi"))
    assert (spec.temperature, spec.top_p, spec.max_tokens, spec.stop) == (1.0, 1.0, 9, ())


def test_blocks_become_messages() -> None:
    messages = [
        USER,
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Well."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sun"},
                {"type": "tool_result", "tool_use_id": "c2", "is_error": True, "content": [TEXT]},
                {"type": "text", "text": "And?", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ]
    calls = (ToolCall(id="c1", name="weather", arguments='{"a":1}'), ToolCall(id="c2", name="weather", arguments="{}"))
    assert anthropic.parse(asked(messages=messages)).spec.messages == (
        Message(role=Role.USER, content="hi"),
        Message(role=Role.ASSISTANT, content="Well.", tool_calls=calls),
        Message(role=Role.TOOL, content="sun", tool_call_id="c1"),
        Message(role=Role.TOOL, content="error: rain", tool_call_id="c2"),
        Message(role=Role.USER, content="And?"),
    )


TEXT = {"type": "text", "text": "rain"}


def test_messages_of_one_role_are_one_turn() -> None:
    assert anthropic.parse(asked(messages=[USER, USER])).spec.messages == (Message(role=Role.USER, content="hi\nhi"),)


@pytest.mark.parametrize(
    ("given", "choice", "tool", "parallel"),
    [
        ({"type": "auto"}, ToolChoice.AUTO, None, True),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice.REQUIRED, None, False),
        ({"type": "tool", "name": "weather"}, ToolChoice.REQUIRED, "weather", True),
        ({"type": "none"}, ToolChoice.NONE, None, True),
    ],
)
def test_choices_of_tools(given: Any, choice: ToolChoice, tool: str | None, parallel: bool) -> None:
    spec = anthropic.parse(asked(tools=[WEATHER], tool_choice=given)).spec
    assert ([each.name for each in spec.tools], spec.tool_choice, spec.tool, spec.parallel_tool_calls) == (
        ["weather"], choice, tool, parallel,
    )  # fmt: skip


def test_all_else_that_shapes_the_answer_is_taken_over() -> None:
    schema = {"type": "object"}
    spec = anthropic.parse(
        asked(
            stop_sequences=["x"],
            temperature=0.5,
            top_p=0.5,
            top_k=3,
            metadata={"user_id": "ann"},
            output_config={"format": {"type": "json_schema", "schema": schema}},
        )
    ).spec
    assert (spec.stop, spec.temperature, spec.top_p, spec.top_k, spec.session) == (("x",), 0.5, 0.5, 3, "ann")
    assert spec.schema == schema


@pytest.mark.parametrize("said", ["output_format", "output_config"])
def test_a_format_may_be_said_as_in_the_beta(said: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "array"}}
    wanted = {"output_format": form} if said == "output_format" else {"output_config": {"format": form}}
    assert anthropic.parse(asked(**wanted)).spec.schema == {"type": "array"}
    assert anthropic.parse_count(asked(**wanted)).schema == {"type": "array"}


def test_what_asks_for_nothing_is_accepted() -> None:
    harmless = {"thinking": {"type": "disabled"}, "service_tier": "auto", "container": None, "mcp_servers": []}
    assert anthropic.parse(asked(**harmless)).spec == anthropic.parse(asked()).spec


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"max_tokens": None}, ["max_tokens"]),
        ({"max_tokens": 0}, ["max_tokens"]),
        ({"temperature": 1.5}, ["temperature"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, ["thinking"]),
        ({"mcp_servers": [{}]}, ["mcp_servers"]),
        ({"output_config": {"effort": "high"}}, ["output_config.effort"]),
        ({"output_config": {"format": {"schema": {}}}}, ["output_config.format.type"]),
        ({"output_config": {"format": {"type": "text"}}}, ["output_config.format.type"]),
        ({"output_format": {"type": "json_schema"}}, ["output_format.schema"]),
        ({"output_format": FORMAT, "output_config": {"format": FORMAT}}, ["output_format"]),
        ({"stop_sequences": ["a"] * 5}, ["stop_sequences"]),
        ({"stop_sequences": [""]}, ["stop_sequences"]),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, ["tools[0].type"]),
        ({"tools": [{"name": "w"}]}, ["tools[0].input_schema"]),
        ({"tool_choice": {"type": "any"}}, ["tool_choice"]),
        ({"tool_choice": {"type": "tool"}}, ["tool_choice"]),
        ({"tool_choice": {"type": "all"}}, ["tool_choice"]),
        ({"messages": []}, ["messages"]),
        ({"messages": [3]}, ["messages[0]"]),
        ({"messages": [{"role": "king", "content": "x"}]}, ["messages[0].role"]),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, ["messages[0].content[0]"]),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, ["messages[0].content[0]"]),
        ({"messages": [USER, {"role": "assistant", "content": "Well"}]}, ["messages[1].role"]),
        ({"messages": [{"role": "user", "content": "a\0"}]}, ["messages[0].content"]),
        ({"system": 3}, ["system"]),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(wrong: dict[str, Any], fields: list[str]) -> None:
    assert wrong_fields(asked(**wrong)) == fields


def test_a_count_needs_no_limit() -> None:
    assert anthropic.parse_count({"model": "tiny", "messages": [USER]}).max_tokens == 1


# --- answers ------------------------------------------------------------------------------------------------


def test_a_whole_message_is_what_the_official_client_reads() -> None:
    read = TheirMessage.model_validate(answer().read(STORY), strict=True)
    assert ([block.type for block in read.content], read.stop_reason) == (["text"], "end_turn")
    assert (read.usage.input_tokens, read.usage.cache_read_input_tokens, read.usage.output_tokens) == (2, 3, 2)


def test_a_stream_says_each_step_in_order() -> None:
    events = streamed(STORY)
    assert [event.type for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta") == "Hello"
    assert (events[-2].delta.stop_reason, events[-2].usage.output_tokens) == ("end_turn", 2)


def test_calls_are_blocks_of_their_own() -> None:
    read = TheirMessage.model_validate(answer().read(CALLED), strict=True)
    assert [(block.type, getattr(block, "input", None)) for block in read.content] == [
        ("text", None), ("tool_use", {"a": 1}), ("tool_use", {}),
    ]  # fmt: skip
    assert read.stop_reason == "tool_use"
    begun = [event for event in streamed(CALLED) if event.type == "content_block_start"]
    assert [(event.index, event.content_block.type) for event in begun] == [
        (0, "text"),
        (1, "tool_use"),
        (2, "tool_use"),
    ]


@pytest.mark.parametrize(
    ("end", "reason", "sequence"),
    [
        (ended(StopReason.STOP, stop="\n"), "stop_sequence", "\n"),
        (ended(StopReason.STOP), "stop_sequence", None),
        (ended(StopReason.MAX_TOKENS), "max_tokens", None),
    ],
)
def test_how_it_ended(end: End, reason: str, sequence: str | None) -> None:
    read = answer().read([STARTED, end])
    assert (read["stop_reason"], read["stop_sequence"]) == (reason, sequence)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x"), "invalid_request_error"),
        (Unauthorized("x"), "authentication_error"),
        (ModelNotFound("x"), "not_found_error"),
        (QueueFull("x"), "rate_limit_error"),
        (NoCapacity("x"), "overloaded_error"),
        (RbeeError("x"), "api_error"),
    ],
)
def test_errors_have_anthropics_types(error: RbeeError, kind: str) -> None:
    assert anthropic.error_body(error, "r-1") == {
        "type": "error", "error": {"type": kind, "message": "x"}, "request_id": "r-1",
    }  # fmt: skip


def test_every_error_has_a_body() -> None:
    assert all(anthropic.error_body(kind("x"))["error"]["message"] == "x" for kind in BY_CODE.values())


def test_the_model_list_is_what_the_official_client_reads() -> None:
    listed = anthropic.model_list(["tiny", "qwen"], created=5)
    read = [ModelInfo.model_validate_json(json.dumps(each), strict=True) for each in listed["data"]]
    assert [model.id for model in read] == ["tiny", "qwen"]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("tiny", "qwen", False)
