"""Tools, formats, likelihoods, several choices, vectors and scores, against the official package's own types."""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rbee.errors import InvalidRequest, WorkerLost
from rbee.wire import openai
from rbee.wire.events import Call, End, JobEvent, Likelihood, Rival, Score, Started, StopReason, Token, Vector
from rbee.wire.jobs import Generation, Role, Work
from rbee.wire.tools import Tool, ToolCall, ToolChoice

USER = [{"role": "user", "content": "hi"}]
FUNCTION = {"name": "weather", "description": "tells it", "parameters": {"type": "object"}, "strict": True}
TOOL = {"type": "function", "function": FUNCTION}
STARTED = Started(worker="worker-cpu-0", model="tiny", seed=7)


def end(reason: StopReason = StopReason.EOS, **more: int) -> End:
    counts = {"tokens_in": 3, "tokens_out": 2, **more}
    return End(stop_reason=reason, decode_ms=2.0, ttft_ms=1.0, **counts)


def chat(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": USER, **extra}


def made(**extra: Any) -> Generation:
    return Generation(**openai.parse_chat(chat(**extra)).generation)


def wrong(body: Any, parse: Any = openai.parse_chat) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    return [each["field"] for each in caught.value.details["fields"]]


def renderer(body: Any, parse: Any = openai.parse_chat) -> openai.Renderer:
    return openai.Renderer(wanted=parse(body), id="job-1", created=5)


def same(kind: Any, answer: dict[str, Any]) -> Any:
    """Return ``answer`` as the package's strict type, that has a place for all of it."""
    read = kind.model_validate(answer, strict=True)
    assert not _extras(read)
    return read


def _extras(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _extras(each)]
    if not hasattr(value, "model_fields_set"):
        return []
    inner = [found for name in value.model_fields_set for found in _extras(getattr(value, name))]
    return [*(value.model_extra or {}), *inner]


def chunks(one: openai.Renderer, *told: tuple[int, JobEvent]) -> list[ChatCompletionChunk]:
    frames = [frame for place, event in told for frame in one.frames(event, place)]
    assert frames[-1].data == "[DONE]"
    return [same(ChatCompletionChunk, json.loads(frame.data)) for frame in frames[:-1]]


# --- requests -----------------------------------------------------------------------------------------------


def test_tools_are_read() -> None:
    asked = made(tools=[TOOL], parallel_tool_calls=False)
    assert asked.tools == (Tool(name="weather", description="tells it", parameters={"type": "object"}),)
    assert (asked.tool_choice, asked.tool, asked.parallel_tool_calls) == (ToolChoice.AUTO, None, False)


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (None, (ToolChoice.AUTO, None)),
        ("auto", (ToolChoice.AUTO, None)),
        ("none", (ToolChoice.NONE, None)),
        ("required", (ToolChoice.REQUIRED, None)),
        ({"type": "function", "function": {"name": "weather"}}, (ToolChoice.REQUIRED, "weather")),
    ],
)
def test_tool_choices_are_read(choice: Any, read: Any) -> None:
    asked = made(tools=[TOOL], tool_choice=choice)
    assert (asked.tool_choice, asked.tool) == read


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": {}}, "tools"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": "json_schema"}, "response_format"),
        ({"response_format": {"json_schema": {"schema": {"type": "object"}}}}, "response_format.type"),
        ({"response_format": {}}, "response_format.type"),
    ],
)  # fmt: skip
def test_wrong_tools_and_formats_are_refused_by_name(extra: Any, field: str) -> None:
    assert wrong(chat(**extra)) == [field]


def test_formats_are_schemas() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert made().schema is None
    assert made(response_format={"type": "text"}).schema is None
    assert made(response_format={"type": "json_object"}).schema == {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert made(response_format=wanted).schema == schema


def test_a_field_called_like_one_of_ours_is_none_of_ours() -> None:
    asked = made(schema={"type": "object"}, tool="x", work="embed")
    assert (asked.schema, asked.tool, asked.work) == (None, None, Work.GENERATE)


def test_calls_and_their_results_are_read() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}}
    history = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": None, "audio": None},
        {"role": "assistant", "refusal": "never"},
    ]
    asked = made(messages=history).messages or ()
    assert asked[1].tool_calls == (ToolCall(id="call_1", name="weather", arguments='{"a": 1}'),)
    assert (asked[2].role, asked[2].content, asked[2].tool_call_id) == (Role.TOOL, "rain", "call_1")
    assert [message.content for message in asked[1:]] == ["", "rain", "no", "never"]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user", "content": "x", "tool_calls": [{}]}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [{"type": "custom"}]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": 3}, "messages[0].tool_calls"),
        ({"role": "assistant", "function_call": {"name": "x"}}, "messages[0].function_call"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "function", "content": "x", "name": "f"}, "messages[0].role"),
        ({"role": "user", "content": None}, "messages[0].content"),
    ],
)
def test_wrong_history_is_refused_by_name(message: Any, field: str) -> None:
    assert wrong(chat(messages=[message])) == [field]


def test_sampling_is_read() -> None:
    asked = made(frequency_penalty=0.5, presence_penalty=-1, logit_bias={"5": -100}, logprobs=True, top_logprobs=2)
    assert (asked.frequency_penalty, asked.presence_penalty, asked.logit_bias) == (0.5, -1.0, {"5": -100.0})
    assert asked.logprobs == 2
    assert made(logprobs=True).logprobs == 0
    assert made(logprobs=False).logprobs is None


def test_each_choice_has_a_seed_of_its_own() -> None:
    wanted = openai.parse_chat(chat(n=3, seed=7))
    assert [each["seed"] for each in wanted.generations] == [7, 8, 9]
    assert [each["seed"] for each in openai.parse_chat(chat(n=2)).generations] == [None, None]


def test_echo_with_logprobs_is_refused() -> None:
    body = {"model": "tiny", "prompt": "hi", "echo": True, "logprobs": 0}
    assert wrong(body, openai.parse_completion) == ["echo"]


KEYS = st.sampled_from(["type", "function", "name", "content", "role"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    for field in ("messages", "tools", "tool_choice", "response_format", "logit_bias", "stop", "stream_options", "n"):
        for parse in (openai.parse_chat, openai.parse_completion):
            try:
                parse({"model": "tiny", "messages": USER, "prompt": "hi", field: value})
            except InvalidRequest as error:
                assert error.details["fields"]


# --- answers ------------------------------------------------------------------------------------------------

CALLS: list[JobEvent] = [
    STARTED,
    Token(i=0, t=" "),
    Call(i=1, index=0, id="call_1", name="weather"),
    Call(i=2, index=0, arguments='{"a":'),
    Call(i=3, index=0, arguments="1}"),
    Call(i=4, index=1, id="call_2", name="now", arguments="{}"),
    end(StopReason.TOOL_CALLS, tokens_cached=1),
]


def test_calls_in_a_whole_answer() -> None:
    answer = same(ChatCompletion, renderer(chat(tools=[TOOL])).whole([(0, event) for event in CALLS]))
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    told = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls]
    assert told == [("call_1", "weather", '{"a":1}'), ("call_2", "now", "{}")]
    assert answer.usage.prompt_tokens_details.cached_tokens == 1


def test_calls_in_a_stream() -> None:
    told = chunks(renderer(chat(tools=[TOOL], stream=True)), *[(0, event) for event in CALLS])
    calls = [call for chunk in told for call in chunk.choices[0].delta.tool_calls or ()]
    assert [(call.index, call.id, call.type) for call in calls] == [
        (0, "call_1", "function"), (0, None, None), (0, None, None), (1, "call_2", "function"),
    ]  # fmt: skip
    assert "".join(call.function.arguments or "" for call in calls if call.function and call.index == 0) == '{"a":1}'
    assert told[-1].choices[0].finish_reason == "tool_calls"


LIKELY = Likelihood(
    token="a", logprob=-0.5, bytes=(97,), top=(Rival(token="b", logprob=float("-inf"), bytes=(98,)),)
)  # fmt: skip


def test_likelihoods_of_a_chat() -> None:
    events: list[JobEvent] = [STARTED, Token(i=0, t="a", logprobs=(LIKELY,)), end()]
    body = chat(logprobs=True, top_logprobs=1)
    answer = same(ChatCompletion, renderer(body).whole([(0, event) for event in events]))
    (token,) = answer.choices[0].logprobs.content
    assert (token.token, token.logprob, token.bytes) == ("a", -0.5, [97])
    assert [(rival.token, rival.logprob) for rival in token.top_logprobs] == [("b", -9999.0)]
    told = chunks(renderer(body), *[(0, event) for event in events])
    assert told[1].choices[0].logprobs == told[1].choices[0].logprobs
    assert told[1].choices[0].logprobs is not None and told[1].choices[0].logprobs.content == [token]


def test_likelihoods_of_a_completion() -> None:
    first, second = Token(i=0, t="x", logprobs=(LIKELY,)), Token(i=1, t="a", logprobs=(LIKELY,))
    events: list[JobEvent] = [STARTED, first, second, end()]
    body = {"model": "tiny", "prompt": "hi", "logprobs": 1}
    one = renderer(body, openai.parse_completion)
    answer = same(Completion, one.whole([(0, event) for event in events]))
    assert answer.choices[0].logprobs.model_dump() == {
        "tokens": ["a", "a"], "token_logprobs": [-0.5, -0.5], "top_logprobs": [{"b": -9999.0}] * 2,
        "text_offset": [0, 1],
    }  # fmt: skip
    said = [chunk for event in events for chunk in renderer(body, openai.parse_completion).chunks(event)]
    assert said[0]["choices"][0]["logprobs"]["text_offset"] == [0]


def test_several_choices_are_one_answer() -> None:
    told: list[tuple[int, JobEvent]] = [
        (1, STARTED), (0, STARTED), (1, Token(i=0, t="b")), (0, Token(i=0, t="a")), (1, end()), (0, Token(i=1, t="c")),
        (0, end(StopReason.MAX_TOKENS, tokens_out=5)),
    ]  # fmt: skip
    answer = same(ChatCompletion, renderer(chat(n=2)).whole(told))
    assert [(c.index, c.message.content, c.finish_reason) for c in answer.choices] == [
        (0, "ac", "length"), (1, "b", "stop"),
    ]  # fmt: skip
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 7)
    streamed = chunks(renderer(chat(n=2, stream_options={"include_usage": True})), *told)
    assert streamed[-1].usage == answer.usage
    texts = ["", ""]
    for chunk in streamed[:-1]:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["ac", "b"]


def test_choices_open_in_their_order_whoever_speaks_first() -> None:
    one = renderer(chat(n=3))
    first = [chunk["choices"][0] for event in (STARTED, Token(i=0, t="b")) for chunk in one.chunks(event, 1)]
    assert [(each["index"], each["delta"].get("role")) for each in first] == [
        (0, "assistant"),
        (1, "assistant"),
        (1, None),
    ]
    assert one.chunks(STARTED, 0) == []


def test_an_answer_that_lacks_a_choice_is_none() -> None:
    with pytest.raises(WorkerLost, match="broke off"):
        renderer(chat(n=2)).whole([(0, STARTED), (0, end())])


def test_prompts_are_echoed_and_counted_each() -> None:
    body = {"model": "tiny", "prompt": ["A", "B"], "n": 2, "echo": True}
    told: list[tuple[int, JobEvent]] = [
        (n, event) for n in range(4) for event in (STARTED, Token(i=0, t=str(n)), end())
    ]
    answer = same(Completion, renderer(body, openai.parse_completion).whole(told))
    assert [choice.text for choice in answer.choices] == ["A0", "A1", "B2", "B3"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 8)
    one = renderer(body, openai.parse_completion)
    said = [chunk["choices"][0] for place, event in told for chunk in one.chunks(event, place)]
    assert "".join(each["text"] for each in said if each["index"] == 2) == "B2"


# --- vectors and scores -------------------------------------------------------------------------------------


def vector(index: int, *numbers: float) -> Vector:
    return Vector(index=index, data=base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode(), tokens=2)


def embedding(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "input": ["a", "b"], **extra}


def test_embeddings_in_both_shapes() -> None:
    events = [STARTED, vector(1, 0, 1), vector(0, 1, 0), end()]
    wanted = openai.parse_embeddings(embedding())
    assert Generation(**wanted.generation).inputs == ("a", "b")
    answer = same(CreateEmbeddingResponse, wanted.answer(events))
    assert [each.embedding for each in answer.data] == [[1.0, 0.0], [0.0, 1.0]]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (4, 4)
    packed = openai.parse_embeddings(embedding(encoding_format="base64")).answer(events)
    assert [each["embedding"] for each in packed["data"]] == [vector(0, 1, 0).data, vector(1, 0, 1).data]


def test_fewer_dimensions_are_as_long_as_all() -> None:
    events = [vector(0, 0.48, 0.64, 0.6), vector(1, 0, 0, 1)]
    answer = openai.parse_embeddings(embedding(dimensions=2)).answer(events)
    assert answer["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
    assert answer["data"][1]["embedding"] == [0.0, 0.0]
    packed = openai.parse_embeddings(embedding(dimensions=2, encoding_format="base64")).answer(events)
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx((0.6, 0.8))
    with pytest.raises(InvalidRequest, match="dimensions: is 4, the vectors of this model have 3"):
        openai.parse_embeddings(embedding(dimensions=4)).answer(events)


def test_a_missing_vector_is_no_answer() -> None:
    with pytest.raises(WorkerLost, match="1 of 2 texts"):
        openai.parse_embeddings(embedding()).answer([vector(0, 1), end()])


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(extra: Any, field: str) -> None:
    assert set(wrong(embedding(**extra), openai.parse_embeddings)) == {field}


def test_documents_come_best_first() -> None:
    body = {"model": "tiny", "query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2, "return_documents": True}
    wanted = openai.parse_rerank(body)
    made = Generation(**wanted.generation)
    assert (made.work, made.query, made.inputs) == (Work.RERANK, "q", ("a", "b", "c"))
    events = [STARTED, *[Score(index=n, score=score, tokens=3) for n, score in enumerate((0.1, 0.9, 0.5))], end()]
    assert wanted.answer(events, id="job-1") == {
        "id": "job-1",
        "object": "list",
        "model": "tiny",
        "results": [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "c"}},
        ],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": [{"title": "x"}]}, "documents[0]"),
        ({"documents": "x"}, "documents"),
        ({"top_n": 0}, "top_n"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(extra: Any, field: str) -> None:
    assert wrong({"model": "tiny", "query": "q", "documents": ["a"], **extra}, openai.parse_rerank) == [field]
