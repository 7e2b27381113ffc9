"""Responses: requests and answers, checked against the official package's own types."""

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from rbee.errors import InvalidRequest, QueueFull, RbeeError, WorkerLost
from rbee.wire import responses
from rbee.wire.events import JobEvent, Likelihood, Rival, StopReason, Token
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import ToolCall, ToolChoice
from tests.unit.wire.story import CALLED, STARTED, STORY, ended

STREAMED: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


def asked(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "input": "hi", **extra}


def answer(**extra: Any) -> responses.Answer:
    echo = responses.parse(asked(**extra)).echo
    return responses.Answer(id="resp_ab12", created=1_700_000_000, echo=echo, store=True)


def wrong_fields(body: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        responses.parse(body)
    return [each["field"] for each in caught.value.details["fields"]]


def streamed(story: list[JobEvent], **extra: Any) -> list[Any]:
    one = answer(**extra)
    frames = [frame for event in story for frame in one.frames(event)]
    events = [STREAMED.validate_python(json.loads(frame.data), strict=True) for frame in frames]
    assert [frame.event for frame in frames] == [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


# --- requests -----------------------------------------------------------------------------------------------


def test_text_becomes_a_job_with_openais_defaults() -> None:
    spec = responses.parse(asked()).spec()
    assert spec.messages == (Message(role=Role.USER, content="hi"),)
    assert (spec.temperature, spec.top_p, spec.max_tokens, spec.tools) == (1.0, 1.0, 1024, ())


def test_items_become_messages_and_calls_join_their_message() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "rain"}]},
    ]
    calls = tuple(ToolCall(id=each, name="weather", arguments="{}") for each in ("c1", "c2"))
    assert responses.parse(asked(input=items, instructions="Be brief.")).spec().messages == (
        Message(role=Role.SYSTEM, content="Be brief."),
        Message(role=Role.USER, content="ab"),
        Message(role=Role.ASSISTANT, content="Well.", tool_calls=calls),
        Message(role=Role.TOOL, content="sun", tool_call_id="c1"),
        Message(role=Role.TOOL, content="rain", tool_call_id="c2"),
    )


def test_the_conversation_before_stands_between_instructions_and_input() -> None:
    before = (Message(role=Role.USER, content="1"), Message(role=Role.ASSISTANT, content="2"))
    made = responses.parse(asked(instructions="Be brief.", previous_response_id="resp_1"))
    assert made.previous == "resp_1"
    assert [message.content for message in made.spec(before).messages or ()] == ["Be brief.", "1", "2", "hi"]


def test_all_that_shapes_the_answer_is_taken_over() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    spec = responses.parse(
        asked(
            max_output_tokens=9,
            temperature=0,
            top_p=0.5,
            tools=[WEATHER],
            tool_choice={"type": "function", "name": "weather"},
            parallel_tool_calls=False,
            text={"format": {"type": "json_schema", "name": "it", "schema": schema, "strict": True}},
            include=["message.output_text.logprobs"],
            top_logprobs=2,
            user="ann",
        )
    ).spec()
    assert (spec.max_tokens, spec.temperature, spec.top_p, spec.session) == (9, 0.0, 0.5, "ann")
    assert ([tool.name for tool in spec.tools], spec.tool_choice, spec.tool) == (
        ["weather"], ToolChoice.REQUIRED, "weather",
    )  # fmt: skip
    assert (spec.parallel_tool_calls, spec.schema, spec.logprobs) == (False, schema, 2)


@pytest.mark.parametrize("stop", ["Observation:", ["Observation:"]])
def test_one_text_may_end_an_answer(stop: Any) -> None:
    assert responses.parse(asked(stop=stop)).spec().stop == ("Observation:",)


def test_json_without_a_schema_is_any_object() -> None:
    assert responses.parse(asked(text={"format": {"type": "json_object"}})).spec().schema == {"type": "object"}


@pytest.mark.parametrize(
    "harmless",
    [
        {"background": False, "truncation": "disabled", "conversation": None, "reasoning": {"effort": None}},
        {"include": ["reasoning.encrypted_content"], "service_tier": "auto", "metadata": {"a": "b"}, "store": False},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}, "tools": [], "tool_choice": "auto"},
        {"max_tool_calls": 3, "safety_identifier": "x", "brand_new": [1], "stream_options": {"include_obfuscation": 1}},
    ],
)
def test_what_asks_for_nothing_is_accepted(harmless: dict[str, Any]) -> None:
    assert responses.parse(asked(**harmless)).spec() == responses.parse(asked()).spec()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"schema": {"type": "object"}}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "it"}}}, "text.format.schema"),
        ({"text": {"format": "json_object"}}, "text.format"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "no good"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name"),
        ({"tool_choice": 3}, "tool_choice"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "n"}]}, "input[0].arguments"),
        ({"input": [{"role": "user", "content": "a\0"}]}, "input[0].content"),
        ({"metadata": {"\ud800": "x"}}, "metadata"),
        ({"tools": [{**WEATHER, "new": "\udfff"}]}, "tools"),
        ({"text": {"format": {"type": "text", "new": ["\ud800"]}}}, "text"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": "x" * 257}, "stop"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(wrong: dict[str, Any], field: str) -> None:
    assert wrong_fields(asked(**wrong)) == [field]


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert wrong_fields(body) == [""]


# --- answers ------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_what_the_official_client_reads() -> None:
    read = Response.model_validate(answer(tools=[WEATHER], metadata={"a": "b"}).read(STORY), strict=True)
    assert (read.output_text, read.status, read.metadata) == ("Hello", "completed", {"a": "b"})
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.total_tokens, read.usage.input_tokens_details.cached_tokens) == (
        5,
        7,
        3,
    )


def test_a_stream_says_each_step_in_order() -> None:
    events = streamed(STORY)
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[-1].response.output_text == "Hello"
    assert events[0].response.output == []


def test_calls_are_items_of_their_own() -> None:
    events = streamed(CALLED, tools=[WEATHER])
    said, *calls = events[-1].response.output
    assert said.content[0].text == "Well. "
    assert [(call.call_id, call.arguments, call.status) for call in calls] == [
        ("call-1", '{"a":1}', "completed"), ("call-2", "{}", "completed"),
    ]  # fmt: skip
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(event.delta for event in deltas if event.output_index == 1) == '{"a":1}'
    assert len({item.id for item in events[-1].response.output}) == 3


def test_what_was_said_can_be_said_again() -> None:
    one = answer()
    one.read(CALLED)
    (message,) = responses.said_again(one.output)
    assert (message.role, message.content) == (Role.ASSISTANT, "Well. ")
    assert [call.arguments for call in message.tool_calls] == ['{"a":1}', "{}"]


def test_an_answer_that_was_cut_short_is_incomplete() -> None:
    *_, item, last = streamed([*STORY[:-1], ended(StopReason.MAX_TOKENS)])
    assert item.item.status == "incomplete"
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", "max_output_tokens")


def test_an_answer_without_a_word_has_an_empty_message() -> None:
    assert streamed([STARTED, ended()])[-1].response.output[0].content[0].text == ""


def test_likelihoods_are_told_where_they_were_wanted() -> None:
    likely = Likelihood(token="a", logprob=-0.1, bytes=(97,), top=(Rival(token="b", logprob=-2.0),))
    events = streamed([STARTED, Token(i=0, t="a", logprobs=(likely,)), ended()])
    assert events[4].logprobs[0].top_logprobs[0].token == "b"
    assert events[-1].response.output[0].content[0].logprobs[0].logprob == -0.1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WorkerLost("gone"), "server_error"),
        (QueueFull("full"), "rate_limit_exceeded"),
        (InvalidRequest("no"), "invalid_prompt"),
    ],
)
def test_a_failure_in_mid_stream_ends_it(error: RbeeError, code: str) -> None:
    one = answer()
    for event in STORY[:3]:
        one.frames(event)
    last = STREAMED.validate_python(json.loads(one.failed(error).data), strict=True)
    assert (last.type, last.response.status, last.response.error.code) == ("response.failed", "failed", code)
    assert last.response.output[0].status == "incomplete"


def test_a_failure_before_the_first_word_is_an_error() -> None:
    last = STREAMED.validate_python(json.loads(answer().failed(WorkerLost("gone")).data), strict=True)
    assert (last.type, last.code, last.message) == ("error", "worker_lost", "gone")
