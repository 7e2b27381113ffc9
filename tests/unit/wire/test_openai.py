"""OpenAI's requests and answers, checked against the official package's own types."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rbee.errors import BY_CODE, Conflict, InvalidRequest, ModelNotFound, QueueFull, RbeeError, Unauthorized, WorkerLost
from rbee.wire import openai
from rbee.wire.events import End, Failure, JobEvent, Metrics, Queued, Started, StopReason, Token
from rbee.wire.fields import JOB_ID
from rbee.wire.jobs import Generation, Message, Role

USER = [{"role": "user", "content": "hi"}]
STORY: list[JobEvent] = [
    Queued(position=0),
    Started(worker="worker-cpu-0", model="tiny", seed=7),
    Token(i=0, t="Hel"),
    Metrics(tokens_out=1, tokens_per_s=9.0),
    Token(i=1, t="lo"),
    End(tokens_in=3, tokens_out=2, stop_reason=StopReason.EOS, decode_ms=2.0, ttft_ms=1.0),
]


def chat(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": USER, **extra}


def completion(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": "hi", **extra}


def renderer(kind: Any = "chat", *, include_usage: bool = False, **extra: Any) -> openai.Renderer:
    body = extra | {"stream_options": {"include_usage": include_usage}}
    wanted = openai.parse_chat(chat(**body)) if kind == "chat" else openai.parse_completion(completion(**body))
    return openai.Renderer(wanted=wanted, id="job-1", created=1_700_000_000)


def one(events: list[JobEvent]) -> list[tuple[int, JobEvent]]:
    return [(0, event) for event in events]


def wrong_fields(body: Any, parse: Any = openai.parse_chat) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    return [each["field"] for each in caught.value.details["fields"]]


# --- requests -----------------------------------------------------------------------------------------------


def test_a_chat_becomes_a_generation_with_openais_defaults() -> None:
    request = openai.parse_chat(chat())
    assert (request.kind, request.model, request.stream, request.include_usage) == ("chat", "tiny", False, False)
    made = Generation(**request.generation)
    assert made.messages == (Message(role=Role.USER, content="hi"),)
    assert (made.temperature, made.top_p, made.max_tokens, made.seed, made.stop) == (1.0, 1.0, 1024, None, ())
    assert (made.top_k, made.min_p, made.repeat_penalty) == (40, 0.05, 1.0)


def test_a_completion_becomes_a_generation() -> None:
    request = openai.parse_completion(
        completion(
            max_tokens=5,
            temperature=0,
            top_k=3,
            stop="x",
            ignore_eos=True,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    made = Generation(**request.generation)
    assert (made.prompt, made.max_tokens, made.temperature, made.top_k, made.stop) == ("hi", 5, 0.0, 3, ("x",))
    assert made.ignore_eos
    assert request.stream
    assert request.include_usage


def test_a_list_of_one_prompt_is_that_prompt() -> None:
    assert openai.parse_completion(completion(prompt=["hi"])).generation["prompt"] == "hi"


def test_several_prompts_are_several_choices() -> None:
    request = openai.parse_completion(completion(prompt=["a", "b"], n=2, seed=2**32 - 2, echo=True))
    assert [made["prompt"] for made in request.generations] == ["a", "a", "b", "b"]
    assert [made["seed"] for made in request.generations] == [2**32 - 2, 0, 2**32 - 2, 0]
    assert request.echoes == ["a", "a", "b", "b"]
    assert request.prompts == 2


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2]], [], [""], "", 3, ["a"] * 33])
def test_tokens_and_no_prompts_are_refused(prompt: Any) -> None:
    assert {field.partition("[")[0] for field in wrong_fields(completion(prompt=prompt), openai.parse_completion)} == {
        "prompt"
    }


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = openai.parse_chat(chat(messages=[{"role": "user", "content": parts}]))
    assert request.generation["messages"][0].content == "ab"


def test_many_parts_lose_nothing() -> None:
    parts = [{"type": "text", "text": "a"}] * 3000
    request = openai.parse_chat(chat(messages=[{"role": "user", "content": parts}]))
    assert request.generation["messages"][0].content == "a" * 3000


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "image_url", "image_url": {"url": "data:"}}, "messages[0].content[0]"),
        ({"type": "text"}, "messages[0].content[0].text"),
        ({"type": "text", "text": 3}, "messages[0].content[0].text"),
        ("bare", "messages[0].content[0]"),
    ],
)
def test_parts_that_are_no_text_are_refused_by_name(part: Any, field: str) -> None:
    assert wrong_fields(chat(messages=[{"role": "user", "content": [part]}])) == [field]


def test_max_completion_tokens_wins_over_max_tokens() -> None:
    assert openai.parse_chat(chat(max_tokens=9, max_completion_tokens=4)).generation["max_tokens"] == 4


def test_a_huge_limit_means_as_much_as_possible() -> None:
    assert openai.parse_chat(chat(max_tokens=1_000_000)).generation["max_tokens"] == 32_768


@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1])
def test_any_seed_of_openai_fits(seed: int) -> None:
    made = openai.parse_chat(chat(seed=seed)).generation["seed"]
    assert 0 <= made <= 2**32 - 2
    assert made == seed or not 0 <= seed <= 2**32 - 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 33),
        ("n", True),
        ("n", "1"),
        ("logprobs", 3),
        ("top_logprobs", 3),
        ("tool_choice", "required"),
        ("tool_choice", "sometimes"),
        ("functions", [{}]),
        ("function_call", {"name": "f"}),
        ("logit_bias", {"five": 1}),
        ("logit_bias", {"5": 101}),
        ("presence_penalty", 2.5),
        ("frequency_penalty", -3),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("reasoning_effort", "high"),
        ("web_search_options", {}),
    ],
)
def test_what_would_change_a_chat_is_refused_by_name(field: str, value: Any) -> None:
    assert wrong_fields(chat(**{field: value})) == [field]


@pytest.mark.parametrize(("field", "value"), [("suffix", "x"), ("best_of", 2), ("logprobs", 21)])
def test_what_would_change_a_completion_is_refused_by_name(field: str, value: Any) -> None:
    assert wrong_fields(completion(**{field: value}), openai.parse_completion) == [field]


@pytest.mark.parametrize(
    "harmless",
    [
        {"n": 1, "logprobs": False, "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "logprobs": None},
        {"metadata": {"a": "b"}, "store": True, "service_tier": "auto", "user": "me", "brand_new_field": [1]},
        {"temperature": None, "top_p": None, "stop": None, "seed": None, "stream": None, "stream_options": None},
    ],
)
def test_what_changes_nothing_is_accepted(harmless: dict[str, Any]) -> None:
    assert openai.parse_chat(chat(**harmless)).generation == openai.parse_chat(chat()).generation


def test_every_wrong_field_is_named_at_once() -> None:
    body = {"messages": [{"role": "king", "content": 3}], "temperature": "hot", "stream": "yes", "n": 99, "top_p": 2}
    assert set(wrong_fields(body)) == {
        "n", "model", "messages[0].role", "messages[0].content", "temperature", "stream", "top_p",
    }  # fmt: skip


@pytest.mark.parametrize("body", [None, [], "x", 3, True])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert wrong_fields(body) == [""]


@pytest.mark.parametrize("messages", [None, [], "hi", [3], [[]], {}, [None]])
def test_messages_of_the_wrong_shape_are_refused(messages: Any) -> None:
    assert all(field.startswith("messages") for field in wrong_fields(chat(messages=messages)))


@pytest.mark.parametrize("stop", [["a"] * 5, [""], "", 3, [3], "x" * 257])
def test_wrong_stops_are_refused(stop: Any) -> None:
    assert all(field.startswith("stop") for field in wrong_fields(chat(stop=stop)))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_is_no_text_is_refused(text: str) -> None:
    assert wrong_fields(chat(messages=[{"role": "user", "content": text}])) == ["messages[0].content"]


# --- answers ------------------------------------------------------------------------------------------------


def test_a_streamed_chat_is_what_the_official_client_reads() -> None:
    made = renderer()
    frames = [frame for event in STORY for frame in made.frames(event)]
    assert frames[-1].encode() == b"data: [DONE]\n\n"
    chunks = [ChatCompletionChunk.model_validate(json.loads(frame.data), strict=True) for frame in frames[:-1]]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {("job-1", "tiny", 1_700_000_000)}


@given(st.sampled_from(("chat", "completion")), st.booleans(), st.lists(st.text() | st.just('\0"\\u0000'), min_size=2))
def test_a_frame_says_what_its_chunk_does(kind: str, usage: bool, texts: list[str]) -> None:
    made, other = renderer(kind, include_usage=usage), renderer(kind, include_usage=usage)
    tokens = [Token(i=n, t=text) for n, text in enumerate(texts)]
    frames = [json.loads(frame.data) for token in tokens for frame in made.frames(token)]
    assert frames == [chunk for token in tokens for chunk in other.chunks(token)]


def test_the_role_is_said_once() -> None:
    made = renderer()
    chunks = [chunk for event in STORY for chunk in made.chunks(event)]
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]


def test_usage_comes_last_when_asked_for() -> None:
    made = renderer(include_usage=True)
    chunks = [chunk for event in STORY for chunk in made.chunks(event)]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
    last = ChatCompletionChunk.model_validate(chunks[-1], strict=True)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (3, 2, 5)


def test_a_streamed_completion_is_what_the_official_client_reads() -> None:
    made = renderer("completion", include_usage=True)
    chunks = [chunk for event in STORY for chunk in made.chunks(event)]
    # the package's type says finish_reason is never null, its server and every other one send null until the end
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, "stop"]
    Completion.model_validate(chunks[-2], strict=True)
    Completion.model_validate(chunks[-1], strict=True)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1]) == "Hello"


def test_a_whole_chat_is_what_the_official_client_reads() -> None:
    answer = ChatCompletion.model_validate(renderer().whole(one(STORY)), strict=True)
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5


def test_a_whole_completion_is_what_the_official_client_reads() -> None:
    answer = Completion.model_validate(renderer("completion").whole(one(STORY)), strict=True)
    assert answer.choices[0].text == "Hello"


@pytest.mark.parametrize(
    ("reason", "word"), [(StopReason.EOS, "stop"), (StopReason.STOP, "stop"), (StopReason.MAX_TOKENS, "length")]
)
def test_finish_reasons(reason: StopReason, word: str) -> None:
    end = End(tokens_in=1, tokens_out=1, stop_reason=reason, decode_ms=1, ttft_ms=1)
    assert renderer().whole(one([end]))["choices"][0]["finish_reason"] == word


def test_a_cancelled_answer_is_an_error_and_not_an_answer() -> None:
    end = End(tokens_in=1, tokens_out=1, stop_reason=StopReason.CANCELLED, decode_ms=1, ttft_ms=1)
    with pytest.raises(Conflict):
        renderer().whole(one([*STORY[:-1], end]))
    (frame,) = renderer().frames(end)
    assert json.loads(frame.data)["error"]["code"] == "conflict"


def test_a_failure_in_mid_stream_is_an_error_frame_and_no_done() -> None:
    (frame,) = renderer().frames(Failure.of(WorkerLost("worker-cpu-0 ended")))
    body = json.loads(frame.data)
    assert body["error"] == {
        "message": "worker-cpu-0 ended", "type": "server_error", "param": None, "code": "worker_lost",
    }  # fmt: skip
    with pytest.raises(WorkerLost):
        renderer().whole(one([Failure.of(WorkerLost("x"))]))


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    with pytest.raises(WorkerLost, match="broke off after 2 tokens"):
        renderer().whole(one(STORY[:-1]))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelNotFound("no such model"), "invalid_request_error"),
        (Unauthorized("no"), "authentication_error"),
        (QueueFull("full"), "rate_limit_error"),
        (RbeeError("bug"), "server_error"),
    ],
)
def test_errors_have_openais_types(error: RbeeError, kind: str) -> None:
    assert openai.error_body(error)["error"]["type"] == kind


def test_every_error_has_a_body() -> None:
    for code, kind in BY_CODE.items():
        inner = openai.error_body(kind("x"))["error"]
        assert inner["code"] == code
        assert set(inner) == {"message", "type", "param", "code"}


def test_the_wrong_field_is_the_param() -> None:
    with pytest.raises(InvalidRequest) as caught:
        openai.parse_chat(chat(n=99))
    assert openai.error_body(caught.value)["error"]["param"] == "n"


def test_the_model_list_is_what_the_official_client_reads() -> None:
    listed = openai.model_list(["tiny", "qwen"], created=5)
    assert [Model.model_validate(each, strict=True).id for each in listed["data"]] == ["tiny", "qwen"]


@pytest.mark.parametrize(
    ("user", "session"), [(None, None), ("ann", "ann"), ("ann@home.arpa", "user-"), ("x" * 900, "user-")]
)
def test_whom_a_client_speaks_for_is_a_session(user: str | None, session: str | None) -> None:
    found = openai.parse_chat(chat(user=user)).session
    assert found == session or (session == "user-" and found is not None and JOB_ID.fullmatch(found))


def test_what_keeps_prompts_together_is_a_session_before_the_user_is() -> None:
    assert openai.parse_chat(chat(user="ann", prompt_cache_key="thread-7")).session == "thread-7"


def test_who_speaks_is_told_to_the_model() -> None:
    messages = [{"role": "system", "content": "x", "name": "boss"}, {"role": "user", "content": "y", "name": "ann"}]
    made = openai.parse_chat(chat(messages=messages)).generation["messages"]
    assert [message.name for message in made] == ["boss", "ann"]


def test_of_many_wrong_fields_a_hundred_are_named() -> None:
    parts = [{"type": "image_url"}] * 5000
    assert len(wrong_fields(chat(messages=[{"role": "user", "content": parts}]))) == 100
