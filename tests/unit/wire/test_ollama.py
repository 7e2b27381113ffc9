"""The Ollama API: requests and answers, checked against the official package's own types."""

import base64
import dataclasses
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from ollama import ChatResponse, GenerateResponse, ListResponse, ProgressResponse, ShowResponse

from rbee.errors import InvalidRequest, WorkerLost
from rbee.wire import ollama
from rbee.wire.catalog import DownloadEvent, ModelFile, ModelKind
from rbee.wire.events import Call, End, JobEvent, Likelihood, Metrics, Queued, Started, StopReason, Token, Vector
from rbee.wire.jobs import Message, Role, Work
from rbee.wire.tools import ToolCall
from rbee.wire.workers import Backend, WorkerState, WorkerStatus

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "hi"}
STARTED = Started(worker="worker-cpu-0", model="tiny", seed=7)
TINY = ModelFile(
    id="tiny", reference="file:/m/tiny.gguf", paths=(), size_bytes=5, sha256="ab", architecture="llama",
    parameters=135_000_000, quantization="Q4_1", context_tokens=2048, chat_template=True,
)  # fmt: skip


def ended(reason: StopReason = StopReason.EOS) -> End:
    return End(tokens_in=5, tokens_out=2, stop_reason=reason, decode_ms=2.0, ttft_ms=1.0)


STORY: list[JobEvent] = [
    Queued(position=0), STARTED, Token(i=0, t="Hel"), Metrics(tokens_out=1, tokens_per_s=9.0), Token(i=1, t="lo"),
    ended(),
]  # fmt: skip
CALLED: list[JobEvent] = [
    STARTED,
    Call(i=1, index=0, id="call-1", name="weather"),
    Call(i=2, index=0, arguments='{"a":'),
    Call(i=3, index=0, arguments="1}"),
    Call(i=4, index=1, id="call-2", name="time", arguments="{}"),
    ended(StopReason.TOOL_CALLS),
]


def chat(**extra: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [USER], **extra}


def answer(*, chat: bool = True) -> ollama.Answer:
    return ollama.Answer(model="tiny", chat=chat, now=lambda: "2026-01-01T00:00:00Z", took_ns=lambda: 9_000_000)


def wrong_fields(body: Any, parse: Any = ollama.parse_chat) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    return [each["field"] for each in caught.value.details["fields"]]


# --- requests -----------------------------------------------------------------------------------------------


def test_a_chat_becomes_a_job_with_ollamas_defaults() -> None:
    wanted = ollama.parse_chat(chat(model="tiny:latest"))
    assert wanted.spec is not None
    assert (wanted.called, wanted.model, wanted.spec.model, wanted.stream) == ("tiny:latest", "tiny", "tiny", True)
    assert wanted.spec.messages == (Message(role=Role.USER, content="hi"),)
    assert (wanted.spec.temperature, wanted.spec.top_k, wanted.spec.top_p, wanted.spec.min_p) == (0.8, 40, 0.9, 0.0)
    assert (wanted.spec.repeat_penalty, wanted.spec.max_tokens, wanted.spec.seed) == (1.1, 1024, None)


def test_options_are_taken_over() -> None:
    options = {
        "temperature": 0, "top_k": 1, "top_p": 0.5, "min_p": 0.1, "repeat_penalty": 1, "seed": 7, "num_predict": 3,
        "stop": ["x"], "num_ctx": 512, "num_gpu": 1, "num_thread": 4, "mirostat": 0, "presence_penalty": 0.5,
    }  # fmt: skip
    wanted = ollama.parse_chat(chat(options=options, stream=False))
    made = wanted.spec
    assert made is not None
    assert (made.temperature, made.top_k, made.top_p, made.min_p, made.repeat_penalty) == (0, 1, 0.5, 0.1, 1)
    assert (made.seed, made.max_tokens, made.stop, made.presence_penalty) == (7, 3, ("x",), 0.5)
    assert (wanted.num_ctx, wanted.stream) == (512, False)


def test_as_much_as_there_is_room_for() -> None:
    made = ollama.parse_chat(chat(options={"num_predict": -1})).spec
    assert made is not None
    assert made.max_tokens == 32_768


def test_calls_and_what_they_gave_find_each_other() -> None:
    function = {"function": {"name": "weather", "arguments": {"a": 1}}}
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [function, function]},
        {"role": "tool", "tool_name": "weather", "content": "sun"},
        {"role": "tool", "tool_name": "weather", "content": "rain"},
    ]
    made = ollama.parse_chat(chat(messages=messages, tools=[WEATHER])).spec
    assert made is not None
    _, called, first, second = made.messages or ()
    assert called.tool_calls == tuple(
        ToolCall(id=each.tool_call_id or "", name="weather", arguments='{"a":1}') for each in (first, second)
    )
    assert first.tool_call_id != second.tool_call_id


def test_what_a_tool_gave_finds_the_call_of_that_tool() -> None:
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("weather", "time", "weather")]
    told = [{"role": "tool", "tool_name": name, "content": name} for name in ("time", "weather", "weather", "tide")]
    made = ollama.parse_chat(chat(messages=[USER, {"role": "assistant", "tool_calls": calls}, *told])).spec
    assert made is not None
    _, called, *results = made.messages or ()
    weather, time, again = (call.id for call in called.tool_calls)
    assert [(each.name, each.tool_call_id) for each in results] == [
        ("time", time), ("weather", weather), ("weather", again), ("tide", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "schema"), [("json", {"type": "object"}), ({"type": "array"}, {"type": "array"}), ("", None)]
)
def test_formats(given: Any, schema: Any) -> None:
    made = ollama.parse_chat(chat(format=given)).spec
    assert made is not None
    assert made.schema == schema


def test_a_prompt_is_what_a_user_says_unless_it_is_raw() -> None:
    said = ollama.parse_generate({"model": "tiny", "prompt": "hi", "system": "Be brief."}).spec
    raw = ollama.parse_generate({"model": "tiny", "prompt": "hi", "raw": True}).spec
    assert said is not None
    assert raw is not None
    assert said.messages == (Message(role=Role.SYSTEM, content="Be brief."), Message(role=Role.USER, content="hi"))
    assert (raw.prompt, raw.messages) == ("hi", None)


@pytest.mark.parametrize("stop", ["Observation:", ["Observation:"]])
def test_one_text_may_end_an_answer(stop: Any) -> None:
    made = ollama.parse_chat(chat(options={"stop": stop})).spec
    assert made is not None
    assert made.stop == ("Observation:",)


@pytest.mark.parametrize(
    ("keep_alive", "leave"), [(None, False), ("5m", False), (-1, False), (0, True), ("0", True), ("0s", True)]
)
def test_keep_alive(keep_alive: Any, leave: bool) -> None:
    wanted = ollama.parse_generate({"model": "tiny", "keep_alive": keep_alive})
    assert (wanted.spec, wanted.leave) == (None, leave)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"model": ""}, ["model"]),
        ({"think": True}, ["think"]),
        ({"format": "xml"}, ["format"]),
        ({"format": 3}, ["format"]),
        ({"keep_alive": True}, ["keep_alive"]),
        ({"options": {"temperature": 9}}, ["options.temperature"]),
        ({"options": {"mirostat": 2}}, ["options.mirostat"]),
        ({"options": {"typical_p": 0.5}}, ["options.typical_p"]),
        ({"options": {"num_predict": 0}}, ["options.num_predict"]),
        ({"options": {"stop": ["a"] * 5}}, ["options.stop"]),
        ({"options": {"stop": [""]}}, ["options.stop"]),
        ({"options": {"stop": "x" * 257}}, ["options.stop"]),
        ({"options": 3}, ["options"]),
        ({"messages": [{"role": "user", "content": "x", "images": ["AA=="]}]}, ["messages[0].images"]),
        ({"messages": [{"role": "king"}]}, ["messages[0].role"]),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, ["messages[0].tool_calls[0].function"]),
        ({"tools": [{"type": "web"}]}, ["tools[0]"]),
        ({"tools": [{"function": {"name": "no good"}}]}, ["tools[0].function.name"]),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(wrong: dict[str, Any], fields: list[str]) -> None:
    assert wrong_fields(chat(**wrong)) == fields


@pytest.mark.parametrize("field", ["suffix", "template", "context", "images"])
def test_what_a_prompt_cannot_have_is_refused_by_name(field: str) -> None:
    assert wrong_fields({"model": "tiny", "prompt": "x", field: ["x"]}, ollama.parse_generate) == [field]


def test_texts_to_embed() -> None:
    one = ollama.parse_embed({"model": "tiny", "input": "a", "truncate": True}).spec
    two = ollama.parse_embed({"model": "tiny", "input": ["a", "b"]}).spec
    older = ollama.parse_embedding({"model": "tiny", "prompt": "a"}).spec
    assert (one.work, one.inputs, two.inputs, older.inputs) == (Work.EMBED, ("a",), ("a", "b"), ("a",))


@pytest.mark.parametrize("wrong", [{"input": []}, {"input": [3]}, {"input": ""}, {}])
def test_what_cannot_be_embedded_is_refused_by_name(wrong: dict[str, Any]) -> None:
    assert wrong_fields({"model": "tiny", **wrong}, ollama.parse_embed) == ["input"]


@pytest.mark.parametrize(("wrong", "field"), [({"dimensions": -1}, "dimensions"), ({"keep_alive": [3]}, "keep_alive")])
def test_how_to_embed_is_refused_by_name(wrong: dict[str, Any], field: str) -> None:
    assert wrong_fields({"model": "tiny", "input": "a", **wrong}, ollama.parse_embed) == [field]


def test_a_model_may_leave_after_it_has_embedded() -> None:
    assert ollama.parse_embed({"model": "tiny", "input": "a", "keep_alive": "0s"}).leave
    assert ollama.parse_embedding({"model": "tiny", "prompt": "a", "keep_alive": 0}).leave
    assert not ollama.parse_embed({"model": "tiny", "input": "a", "keep_alive": "5m"}).leave


def test_names_of_models() -> None:
    assert [ollama.name_of(each) for each in ("tiny", "tiny:latest", "hf.co/a/b", "file:/m.gguf")] == [
        "tiny", "tiny", "hf:a/b", "file:/m.gguf",
    ]  # fmt: skip
    assert ollama.name_of("hf.co/a/b:q4_k_m") == "hf:a/b:Q4_K_M"
    assert ollama.name_of("https://huggingface.co/a/b:b-Q4_K_M.gguf") == "hf:a/b::file=b-Q4_K_M.gguf"
    assert ollama.parse_name({"name": "tiny"}) == "tiny"
    assert wrong_fields({}, ollama.parse_name) == ["model"]


# --- answers ------------------------------------------------------------------------------------------------


def test_a_streamed_chat_is_what_the_official_client_reads() -> None:
    one = answer()
    lines = [ChatResponse.model_validate(line, strict=True) for event in STORY for line in one.told(event)]
    assert "".join(line.message.content or "" for line in lines) == "Hello"
    assert [line.done for line in lines] == [False, False, True]
    last = lines[-1]
    assert (last.done_reason, last.prompt_eval_count, last.eval_count) == ("stop", 5, 2)
    assert (last.total_duration, last.load_duration) == (9_000_000, 6_000_000)
    assert (last.prompt_eval_duration, last.eval_duration) == (1_000_000, 2_000_000)


def test_a_whole_answer_is_what_the_official_client_reads() -> None:
    one, two = answer(), answer(chat=False)
    said = ChatResponse.model_validate(one.joined([line for event in STORY for line in one.told(event)]), strict=True)
    made = GenerateResponse.model_validate(two.joined([line for e in STORY for line in two.told(e)]), strict=True)
    assert (said.message.content, said.done, made.response, made.done) == ("Hello", True, "Hello", True)


def test_calls_are_told_when_they_are_whole() -> None:
    one = answer()
    lines = [line for event in CALLED for line in one.told(event)]
    read = ChatResponse.model_validate(one.joined(lines), strict=True)
    assert [(call.function.name, call.function.arguments) for call in read.message.tool_calls or ()] == [
        ("weather", {"a": 1}), ("time", {}),
    ]  # fmt: skip
    assert [len(line["message"].get("tool_calls", ())) for line in lines] == [1, 1, 0]


def test_an_answer_that_was_cut_short_says_so() -> None:
    assert answer().told(ended(StopReason.MAX_TOKENS))[0]["done_reason"] == "length"


def test_likelihoods_are_told() -> None:
    one = answer()
    likely = Likelihood(token="a", logprob=-0.1, bytes=(97,))
    lines = [line for event in (Token(i=0, t="a", logprobs=(likely,)), ended()) for line in one.told(event)]
    read = ChatResponse.model_validate(one.joined(lines), strict=True)
    assert [each.logprob for each in read.logprobs or ()] == [-0.1]


def test_vectors_come_in_the_order_of_their_texts() -> None:
    data = [base64.b64encode(struct.pack("<2f", n, 0.5)).decode() for n in range(2)]
    told = [Vector(index=1, data=data[1], tokens=1), Vector(index=0, data=data[0], tokens=1), ended()]
    wanted = ollama.parse_embed({"model": "tiny", "input": ["a", "b"], "dimensions": 0})
    assert wanted.vectors(told)[0] == [[0.0, 0.5], [1.0, 0.5]]
    with pytest.raises(WorkerLost):
        wanted.vectors(told[:1])


def test_vectors_are_cut_to_so_many_dimensions_and_made_one_long_again() -> None:
    told = [Vector(index=0, data=base64.b64encode(struct.pack("<3f", 3, 4, 12)).decode(), tokens=1), ended()]
    (found,), _ = ollama.parse_embed({"model": "tiny", "input": "a", "dimensions": 2}).vectors(told)
    assert found == pytest.approx([0.6, 0.8])
    with pytest.raises(InvalidRequest, match="dimensions: is 4, the vectors of this model have 3"):
        ollama.parse_embed({"model": "tiny", "input": "a", "dimensions": 4}).vectors(told)


def test_models_are_what_the_official_client_reads() -> None:
    (listed,) = ListResponse.model_validate(ollama.tags([("tiny", TINY)])).models
    assert (listed.model, listed.size, listed.digest) == ("tiny", 5, "ab")
    assert listed.details is not None
    assert (listed.details.parameter_size, listed.details.quantization_level) == ("135.00M", "Q4_1")
    shown = ShowResponse.model_validate(ollama.shown("tiny", TINY))
    assert shown.capabilities == ["completion", "tools"]
    assert (shown.modelinfo or {})["llama.context_length"] == 2048


@pytest.mark.parametrize(
    ("kind", "architecture", "capabilities"),
    [
        (ModelKind.EMBED, "qwen3", ["embedding"]),
        (ModelKind.GENERATE, "albert", ["completion", "tools"]),
        (ModelKind.RERANK, "bert", []),
    ],
)
def test_what_a_model_can_do_is_what_it_is_for(kind: ModelKind, architecture: str, capabilities: list[str]) -> None:
    file = dataclasses.replace(TINY, kind=kind, architecture=architecture)
    assert ollama.shown("x", file)["capabilities"] == capabilities


def test_a_digest_is_there_also_where_the_bytes_were_not_summed_yet() -> None:
    file = dataclasses.replace(TINY, sha256="")
    worker = WorkerStatus(id="w", state=WorkerState.READY, model="x", backend=Backend.CPU, address="a:1")
    (listed,), (runs,) = (
        ollama.tags([("x", file)])["models"],
        ollama.running([(worker, file, datetime.now(UTC))])["models"],
    )
    assert listed["digest"] == runs["digest"] == "0" * 64


def test_a_download_is_what_the_official_client_reads() -> None:
    told = [
        DownloadEvent(state="resolving"),
        DownloadEvent(state="downloading", bytes_done=1, bytes_total=5),
        DownloadEvent(state="done", model=TINY),
    ]
    read = [ProgressResponse.model_validate(ollama.pulled(event, "tiny"), strict=True) for event in told]
    assert [line.status for line in read] == ["resolving tiny", "downloading tiny", "success"]
    assert (read[1].completed, read[1].total) == (1, 5)
