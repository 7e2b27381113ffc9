"""Tools: what the model is told, what it may say, and what is heard of it."""

import json
import random
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.errors import InvalidRequest
from rbee.llm_worker.calling.ear import CallEar
from rbee.llm_worker.calling.style import HERMES, LLAMA, MISTRAL, MISTRAL_ARGS, Style, manner_of
from rbee.llm_worker.shape import CallPiece, Shape
from rbee.llm_worker.shaping import chat_of, shape_of
from rbee.wire.jobs import Generation, Message, Role
from rbee.wire.tools import Tool, ToolCall, ToolChoice
from tests.unit.llm_worker.shaping import templates
from tests.unit.llm_worker.shaping.vocabulary import Words, allowed, babble, heard, rendered, say

WEATHER = Tool(
    name="weather",
    description="tells it",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 3}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
NOW = Tool(name="now")
ASKED = Message(role=Role.USER, content="hi")
STYLES = {
    templates.IGNORANT: HERMES,
    templates.HERMES: HERMES,
    templates.LLAMA: LLAMA,
    templates.MISTRAL: MISTRAL,
    templates.MISTRAL_ARGS: MISTRAL_ARGS,
}
SAID = {
    HERMES: '<tool_call>\n{"name": "weather", "arguments": {"city": "{é\\""}}\n</tool_call>',
    LLAMA: '{"name": "weather", "parameters": {"city": "{é\\""}}',
    MISTRAL: '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "{é\\""}}]',
    MISTRAL_ARGS: '[TOOL_CALLS]weather[ARGS]{"city": "{é\\""}',
}
TWICE = {
    HERMES: '<tool_call>\n{"name": "weather", "arguments": {"city": "a"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
    LLAMA: '{"name": "weather", "parameters": {"city": "a"}}; {"name": "now", "parameters": {}}',
    MISTRAL: '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "a"}}, {"name": "now", "arguments": {}}]',
    MISTRAL_ARGS: '[TOOL_CALLS]weather[ARGS]{"city": "a"}[TOOL_CALLS]now[ARGS]{}',
}
every_template = pytest.mark.parametrize("template", STYLES, ids=["ignorant", "hermes", "llama", "mistral", "args"])
every_style = pytest.mark.parametrize("style", SAID, ids=["hermes", "llama", "mistral", "args"])


def wanting(**more: Any) -> Generation:
    return Generation(**{"messages": (ASKED,), "tools": (WEATHER, NOW), **more})


def shaped(template: str, **more: Any) -> tuple[Shape, Words]:
    words = Words(template)
    return shape_of(wanting(**more), words), words


def may(template: str, text: str, **more: Any) -> bool:
    shape, words = shaped(template, **more)
    return say(shape, words, text, control=list(shape.spoken))


def hear(style: Style, *texts: str) -> tuple[str, list[tuple[str, str]]]:
    ear = CallEar(style)
    return heard([piece for text in texts for piece in ear.feed(text)] + list(ear.flush()))


@every_template
def test_the_style_shows_in_the_template(template: str) -> None:
    words = Words(template)
    manner = manner_of(words.render, words.template)
    assert manner.style is STYLES[template]
    assert manner.told_by_template is (template != templates.IGNORANT)


@every_template
def test_a_call_may_be_made_and_its_arguments_have_to_validate(template: str) -> None:
    said = SAID[STYLES[template]]
    for choice in (ToolChoice.AUTO, ToolChoice.REQUIRED):
        assert may(template, said, tool_choice=choice)
        assert may(template, TWICE[STYLES[template]], tool_choice=choice)
        assert not may(template, said.replace("city", "town"), tool_choice=choice)
        assert not may(template, said.replace("weather", "climate"), tool_choice=choice)
        assert not may(template, said[:-1], tool_choice=choice)


@every_template
def test_text_is_free_unless_a_call_is_required(template: str) -> None:
    for text in ("", "Just an answer, with {braces} and <tags>.\n", '{"x": 1}', "é中"):
        assert may(template, text)
        assert not may(template, text, tool_choice=ToolChoice.REQUIRED)


@every_template
def test_one_call_at_most_where_they_are_not_parallel(template: str) -> None:
    assert may(template, SAID[STYLES[template]], parallel_tool_calls=False)
    assert not may(template, TWICE[STYLES[template]], parallel_tool_calls=False)


@every_template
def test_a_named_tool_is_the_only_one_and_called_once(template: str) -> None:
    named: Any = {"tool": "weather", "tool_choice": ToolChoice.REQUIRED}
    said = SAID[STYLES[template]]
    assert may(template, said, **named)
    assert not may(template, TWICE[STYLES[template]], **named)
    assert not may(template, said, tool="now", tool_choice=ToolChoice.REQUIRED)


@every_template
def test_a_call_may_follow_text_where_models_were_taught_so(template: str) -> None:
    style = STYLES[template]
    assert may(template, "Let me see. " + SAID[style]) or not style.late
    assert not may(template, SAID[style] + " and that was it")


@every_template
def test_no_tools_no_shape(template: str) -> None:
    assert shaped(template, tool_choice=ToolChoice.NONE)[0] == Shape()
    assert shaped(template, tools=())[0] == Shape()


@given(st.sampled_from(list(STYLES)), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_whatever_is_said_is_text_or_calls_that_validate(template: str, must: bool, seed: int) -> None:
    shape, words = shaped(template, tool_choice=ToolChoice.REQUIRED if must else ToolChoice.AUTO)
    said = babble(shape, words, random.Random(seed))
    assert shape.ear is not None
    if said is None:
        return
    text, calls = heard([*shape.ear.feed(said), *shape.ear.flush()])
    assert bool(calls) is shape.ear.called
    assert text == said or calls
    assert not (must and text)
    for name, arguments in calls:
        schema = {"weather": WEATHER.parameters, "now": {"type": "object", "maxProperties": 0}}[name]
        jsonschema.validate(json.loads(arguments), schema)


@every_template
def test_control_tokens_are_heard_and_all_others_never_said(template: str) -> None:
    shape, words = shaped(template)
    assert {words.pieces[token] for token in shape.spoken} == {
        LLAMA: {b"<|python_tag|>"},
        MISTRAL: {b"[TOOL_CALLS]"},
        MISTRAL_ARGS: {b"[TOOL_CALLS]"},
    }.get(STYLES[template], set())
    assert not {0, 1} & set(allowed(shape, words))
    assert {2, 3} <= set(allowed(shape, words))


def test_llamas_other_beginning() -> None:
    assert may(templates.LLAMA, "<|python_tag|>" + SAID[LLAMA])
    assert hear(LLAMA, "<|python_tag|>" + SAID[LLAMA]) == ("", [("weather", '{"city": "{é\\""}')])


INSIDE = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("template", [templates.HERMES, templates.LLAMA], ids=["hermes", "llama"])
@pytest.mark.parametrize(
    "parameters",
    [
        {**INSIDE, "nullable": True},
        {**INSIDE, "type": ["object", "null"]},
        {"anyOf": [INSIDE, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, INSIDE]},
        {"$ref": "#/$defs/x", "$defs": {"x": {**INSIDE, "nullable": True}}},
        {"$ref": "#/$defs/x", "nullable": True, "$defs": {"x": INSIDE}},
        {"allOf": [{**INSIDE, "nullable": True}]},
        {"enum": [None, {"a": 1}, 3]},
    ],
    ids=["nullable", "types", "anyOf", "oneOf", "nullable below", "nullable above", "allOf", "enum"],
)
def test_arguments_are_an_object_whatever_is_wrapped_around_it(template: str, parameters: Any) -> None:
    tools = (Tool(name="odd", parameters=parameters),)
    called = SAID[STYLES[template]].replace("weather", "odd")
    assert may(template, called.replace('{"city": "{é\\""}', '{"a": 1}'), tools=tools)
    assert not may(template, called.replace('{"city": "{é\\""}', "null"), tools=tools)
    shape, words = shaped(template, tools=tools, tool_choice=ToolChoice.REQUIRED)
    told = babble(shape, words, random.Random(7))
    assert told is not None and shape.ear is not None
    text, calls = heard([*shape.ear.feed(told), *shape.ear.flush()])
    assert calls and not text
    assert all(isinstance(json.loads(arguments)["a"], int) for _, arguments in calls)


def test_a_tool_that_cannot_be_held_to_is_refused_by_name() -> None:
    odd = Tool(name="odd", parameters={"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}})
    with pytest.raises(InvalidRequest, match="tools: .*uniqueItems"):
        shaped(templates.HERMES, tools=(odd,))


def test_beside_tools_a_schema_is_obeyed_by_text() -> None:
    schema: Any = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert may(templates.HERMES, SAID[HERMES], schema=schema)
    assert may(templates.HERMES, '{"a":"<tool_call>"}', schema=schema)
    assert not may(templates.HERMES, "text", schema=schema)
    assert not may(templates.HERMES, SAID[HERMES].replace("city", "town"), schema=schema)
    ear = shaped(templates.HERMES, schema=schema)[0].ear
    assert ear is not None
    assert heard([*ear.feed('{"a":"<tool_call>"}'), *ear.flush()]) == ('{"a":"<tool_call>"}', [])


def test_where_calls_and_texts_cannot_be_told_apart_that_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a schema beside them"):
        may(templates.LLAMA, "", schema={"type": "object"})


# --- the ear ------------------------------------------------------------------------------------------------


@every_style
@given(st.data())
def test_calls_are_heard_however_they_are_cut(style: Style, data: st.DataObject) -> None:
    said = TWICE[style] if not style.late else "Let me see. " + TWICE[style]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    parts = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    text = "Let me see. " if style.late else ""
    assert hear(style, *parts) == (text, [("weather", '{"city": "a"}'), ("now", "{}")])
    assert hear(style, *said) == (text, [("weather", '{"city": "a"}'), ("now", "{}")])


@every_style
def test_arguments_are_told_as_they_come(style: Style) -> None:
    ear = CallEar(style)
    said = SAID[style]
    at = said.index('{"city') + 3
    first, second = ear.feed(said[:at]), ear.feed(said[at:])
    name, begun = first
    assert isinstance(name, CallPiece) and isinstance(begun, CallPiece)
    assert (name.index, name.name, name.arguments) == (0, "weather", "")
    assert re.fullmatch(r"[A-Za-z0-9]{9}" if style.short_ids else r"call_[A-Za-z0-9]{24}", name.id or "")
    assert begun.arguments == '{"c'
    assert [piece.arguments for piece in second if isinstance(piece, CallPiece)] == ['ity": "{é\\""}']
    assert ear.called


@pytest.mark.parametrize("text", ["a < b", "<tool", "<tool_cal", "x<tool_ call>", ""])
def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    assert hear(HERMES, *text) == (text, [])


def test_what_cannot_become_a_call_is_told_at_once() -> None:
    ear = CallEar(HERMES)
    assert ear.feed("so <") == ["so "]
    assert ear.feed("b") == ["<b"]


@pytest.mark.parametrize("text", ['{"x": 1}', ' {"name": "weather"}', 'so {"name":'])
def test_json_that_is_no_call_is_text(text: str) -> None:
    assert hear(LLAMA, *text) == (text, [])


@every_style
def test_a_call_that_breaks_off_tells_what_there_was(style: Style) -> None:
    said = SAID[style]
    assert hear(style, said[: said.index("city")]) == ("", [("weather", '{"')])


# --- what the model is told ---------------------------------------------------------------------------------

CALLED = Message(
    role=Role.ASSISTANT, content="", tool_calls=(ToolCall(id="call_1", name="weather", arguments='{"city": "Ulm"}'),)
)
ANSWERED = Message(role=Role.TOOL, content="rain", tool_call_id="call_1")


@every_template
def test_tools_calls_and_results_are_told(template: str) -> None:
    text = chat_of(wanting(messages=(ASKED, CALLED, ANSWERED, ASKED)), Words(template), name="m")
    for told in ("weather", "tells it", '"maxLength": 3', '{"city": "Ulm"}', "rain"):
        assert told in text or told.replace(" ", "") in text.replace(" ", ""), told


@every_template
def test_tools_that_must_not_be_called_are_not_told(template: str) -> None:
    text = chat_of(wanting(tool_choice=ToolChoice.NONE), Words(template), name="m")
    assert "weather" not in text
    assert text == rendered(template, [{"role": "user", "content": "hi"}])


def test_only_the_named_tool_is_told() -> None:
    text = chat_of(wanting(tool="now", tool_choice=ToolChoice.REQUIRED), Words(templates.HERMES), name="m")
    assert '"now"' in text and "weather" not in text


def test_a_template_that_knows_no_tools_gets_them_after_the_callers_own_orders() -> None:
    orders = Message(role=Role.SYSTEM, content="be brief")
    text = chat_of(wanting(messages=(orders, ASKED, CALLED, ANSWERED)), Words(templates.IGNORANT), name="m")
    assert text.startswith("<|im_start|>system\nbe brief\n\nYou can call functions")
    assert '<|im_start|>assistant\n<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>' in text
    assert "<|im_start|>user\n<tool_response>\nrain\n</tool_response>" in text


def test_mistral_gets_ids_it_takes() -> None:
    text = chat_of(wanting(messages=(ASKED, CALLED, ANSWERED)), Words(templates.MISTRAL), name="m")
    (call,) = re.findall(r'"id": "(\w+)"', text)
    assert len(call) == 9
    assert f'"call_id": "{call}"' in text


def test_arguments_are_text_where_the_template_wants_that() -> None:
    text = chat_of(wanting(messages=(ASKED, CALLED)), Words(templates.TEXTUAL), name="m")
    assert 'weather{"city": "Ulm"}' in text


def test_what_somebody_sent_as_arguments_may_be_no_json() -> None:
    broken = Message(role=Role.ASSISTANT, content="", tool_calls=(ToolCall(id="1", name="now", arguments="{oh"),))
    assert "{oh" in chat_of(wanting(messages=(ASKED, broken)), Words(templates.HERMES), name="m")
