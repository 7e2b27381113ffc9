"""OpenAI's routes, called by the official client, and by hand where it would not let us."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.unit.llm_worker.conftest import SECRET, Serve, Worker

USER: Any = [{"role": "user", "content": "hi"}]


def client(worker: Worker) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{worker.url}/v1", api_key=SECRET, max_retries=0)


async def test_chat(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        answer = await ai.chat.completions.create(model="tiny", messages=USER, max_tokens=8, seed=1)
    assert answer.model == "tiny"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


async def test_streamed_chat_says_what_the_whole_one_says(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        whole = await ai.chat.completions.create(model="tiny", messages=USER, max_tokens=40, seed=1)
        stream = await ai.chat.completions.create(
            model="tiny", messages=USER, max_tokens=40, seed=1, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage is not None and whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


async def test_completions(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        whole = await ai.completions.create(model="tiny", prompt="hello", max_tokens=20, seed=4)
        stream = await ai.completions.create(model="tiny", prompt="hello", max_tokens=20, seed=4, stream=True)
        said = "".join([chunk.choices[0].text async for chunk in stream])
    assert said == whole.choices[0].text
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 7


async def test_stop_and_temperature_reach_the_model(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        whole = await ai.completions.create(model="tiny", prompt="hello", max_tokens=40, temperature=0)
        text = whole.choices[0].text
        cut = await ai.completions.create(
            model="tiny", prompt="hello", max_tokens=40, temperature=0, stop=[text[20:24]]
        )
    assert cut.choices[0].text == text[: text.find(text[20:24])]
    assert cut.choices[0].finish_reason == "stop"


async def test_models(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        assert [model.id async for model in ai.models.list()] == ["tiny"]


async def test_one_model(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        assert (await ai.models.retrieve("tiny")).id == "tiny"
        with pytest.raises(openai.NotFoundError):
            await ai.models.retrieve("hf:org/another")


@pytest.mark.parametrize("tool", [{"description": "\ud800"}, {"parameters": {"properties": {"\udfff": {}}}}])
async def test_half_a_character_is_refused_wherever_it_is(serve: Serve, tool: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "now", **tool}}]
    body = json.dumps({"model": "tiny", "messages": USER, "tools": tools})
    async with serve() as worker:
        headers = {"Content-Type": "application/json"}
        async with worker.http.post("/v1/chat/completions", data=body, headers=headers) as answer:
            error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (400, "invalid_request")
    assert "half a surrogate pair" in error["message"]


async def test_several_choices(serve: Serve) -> None:
    async with serve(slots=2) as worker, client(worker) as ai:
        asked: Any = {"model": "tiny", "messages": USER, "max_tokens": 12, "seed": 5, "temperature": 2}
        alone = [(await ai.chat.completions.create(**{**asked, "seed": 5 + n})).choices[0].message for n in range(3)]
        answer = await ai.chat.completions.create(**asked, n=3)
        stream = await ai.chat.completions.create(**asked, n=3, stream=True)
        texts = ["", "", ""]
        async for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.message.content for choice in answer.choices] == [message.content for message in alone] == texts
    assert answer.usage is not None and answer.usage.completion_tokens == 36


async def test_several_prompts_with_echo(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        answer = await ai.completions.create(model="tiny", prompt=["a", "b"], max_tokens=3, echo=True)
    assert [choice.text[0] for choice in answer.choices] == ["a", "b"]


async def test_a_client_that_goes_away_ends_all_choices(serve: Serve) -> None:
    async with serve(slots=2) as worker:
        asked = {"model": "tiny", "messages": USER, "n": 4, "max_tokens": 400, "ignore_eos": True, "stream": True}
        async with worker.http.post("/v1/chat/completions", json=asked) as response:
            await response.content.readany()
            assert worker.service.sessions.live > 0
        async with asyncio.timeout(10):
            await worker.service.sessions.quiet()
        async with worker.http.get("/metrics") as response:
            assert 'rbee_worker_generations_total{outcome="cancelled"}' in await response.text()
        assert not worker.service.sessions._all  # nobody comes back to one of these


@pytest.mark.parametrize("stream", [False, True])
async def test_choices_that_wait_for_a_slot_do_not_hold_up_those_that_have_one(serve: Serve, stream: bool) -> None:
    """Each says more than may wait for its reader."""
    async with serve(slots=1) as worker:
        asked = {"model": "tiny", "messages": USER, "n": 3, "max_tokens": 400, "ignore_eos": True, "stream": stream}
        async with asyncio.timeout(60), worker.http.post("/v1/chat/completions", json=asked) as response:
            text = await response.text()
    assert text.count('"finish_reason":"length"') == 3


async def test_more_choices_than_may_wait_are_refused_as_a_whole(serve: Serve) -> None:
    async with serve(slots=1) as worker, client(worker) as ai:
        asked: Any = {"model": "tiny", "messages": USER, "n": 32, "max_tokens": 400, "extra_body": {"ignore_eos": True}}
        first = asyncio.create_task(ai.chat.completions.create(**asked))
        async with asyncio.timeout(10):
            while worker.service.sessions.live < 32:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        with pytest.raises(openai.APIStatusError) as caught:
            await ai.chat.completions.create(**asked)
        assert caught.value.code == "no_capacity"
        first.cancel()
        async with asyncio.timeout(10):
            await worker.service.sessions.quiet()


async def test_likelihoods(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        answer = await ai.chat.completions.create(
            model="tiny", messages=USER, max_tokens=6, temperature=0, logprobs=True, top_logprobs=3
        )
        text = await ai.completions.create(model="tiny", prompt="a", max_tokens=6, seed=1, logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert len(logprobs.content) == 6
    for token in logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == token.logprob, "the likeliest was taken"
    likely = text.choices[0].logprobs
    assert likely is not None and likely.tokens is not None
    assert len(likely.tokens) == 6


async def test_an_answer_by_a_schema_validates_whenever_it_ends(serve: Serve) -> None:
    ended = 0
    async with serve() as worker, client(worker) as ai:
        for seed in range(6):
            answer = await ai.chat.completions.create(
                model="tiny",
                messages=USER,
                seed=seed,
                temperature=2,
                max_tokens=400,
                response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": {
                    "type": "object",
                    "properties": {"a": {"type": "string", "maxLength": 5}, "b": {"type": ["integer", "null"],
                                                                                    "maximum": 999}},
                    "required": ["a", "b"],
                    "additionalProperties": False,
                }}},
            )  # fmt: skip
            choice = answer.choices[0]
            if choice.finish_reason == "stop":
                ended += 1
                assert set(json.loads(choice.message.content or "")) == {"a", "b"}
    assert ended >= 3


async def test_a_schema_that_cannot_be_held_to_is_refused_by_name(serve: Serve) -> None:
    schema = {"type": "array", "uniqueItems": True}
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError, match="uniqueItems") as caught:
            await ai.chat.completions.create(
                model="tiny",
                messages=USER,
                response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            )
    assert (caught.value.code, caught.value.param) == ("invalid_request", "response_format")


TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 4}}, "required": ["city"],
        "additionalProperties": False}}},
    {"type": "function", "function": {"name": "now"}},
]  # fmt: skip


async def test_a_required_call_is_made_and_validates(serve: Serve, roomy: Path) -> None:
    asked: Any = {"model": "tiny", "messages": USER, "tools": TOOLS, "max_tokens": 600, "parallel_tool_calls": False}
    named: Any = {"type": "function", "function": {"name": "weather"}}
    async with serve(roomy, ctx=4096) as worker, client(worker) as ai:
        for seed in range(3):
            answer = await ai.chat.completions.create(**asked, seed=seed, tool_choice="required")
            choice = answer.choices[0]
            assert choice.finish_reason == "tool_calls"
            assert choice.message.content is None
            (call,) = choice.message.tool_calls or ()
            assert call.type == "function"
            assert call.function.name in ("weather", "now")
        answer = await ai.chat.completions.create(**asked, seed=1, tool_choice=named)
        (call,) = answer.choices[0].message.tool_calls or ()
        assert call.type == "function"
        assert set(json.loads(call.function.arguments)) == {"city"}
        history = [*USER, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
        again = await ai.chat.completions.create(**{**asked, "messages": history, "max_tokens": 4}, tool_choice="none")
        assert again.choices[0].message.tool_calls is None


async def test_a_streamed_call_says_what_the_whole_one_says(serve: Serve, roomy: Path) -> None:
    asked: Any = {"model": "tiny", "messages": USER, "tools": TOOLS, "max_tokens": 600, "seed": 3, "n": 2}
    asked |= {"tool_choice": {"type": "function", "function": {"name": "weather"}}}
    async with serve(roomy, ctx=4096, slots=2) as worker, client(worker) as ai:
        whole = await ai.chat.completions.create(**asked)
        async with ai.chat.completions.stream(**asked) as stream:
            async for _ in stream:
                pass
            built = await stream.get_final_completion()
    for one, other in zip(whole.choices, built.choices, strict=True):
        (a,), (b,) = one.message.tool_calls or (), other.message.tool_calls or ()
        assert a.type == "function"
        assert (a.function.name, a.function.arguments) == (b.function.name, b.function.arguments)
        assert one.finish_reason == other.finish_reason == "tool_calls"


async def test_the_clients_own_parsing_works(serve: Serve) -> None:
    class Small(BaseModel):
        yes: bool
        kind: str | None

    async with serve() as worker, client(worker) as ai:
        parsed = None
        for seed in range(8):
            try:
                answer = await ai.chat.completions.parse(
                    model="tiny", messages=USER, response_format=Small, seed=seed, temperature=2, max_tokens=450
                )
            except openai.LengthFinishReasonError:
                continue
            parsed = answer.choices[0].message.parsed
            break
    assert isinstance(parsed, Small)


async def test_what_a_model_is_not_for_is_refused(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError, match="embed"):
            await ai.embeddings.create(model="tiny", input="hello")
        async with worker.http.post("/v1/rerank", json={"model": "tiny", "query": "q", "documents": ["a"]}) as response:
            assert response.status == 400
            assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_another_model_is_not_found(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.NotFoundError, match="this worker has tiny, not gpt-4") as caught:
            await ai.chat.completions.create(model="gpt-4", messages=USER)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_done_is_refused_by_name(serve: Serve, stream: bool) -> None:
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError) as caught:
            await ai.chat.completions.create(model="tiny", messages=USER, n=99, stream=stream)
    assert (caught.value.param, caught.value.type, caught.value.code) == (
        "n", "invalid_request_error", "invalid_request",
    )  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_a_context_too_long_is_a_bad_request_also_when_streaming(serve: Serve, stream: bool) -> None:
    async with serve(ctx=64) as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError) as caught:
            await ai.completions.create(model="tiny", prompt="a" * 200, stream=stream)
    assert caught.value.code == "context_too_long"


async def test_a_wrong_key_is_an_authentication_error(serve: Serve) -> None:
    async with serve() as worker, openai.AsyncOpenAI(base_url=f"{worker.url}/v1", api_key="wrong" * 4) as ai:
        with pytest.raises(openai.AuthenticationError):
            await ai.models.list()


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff"])
async def test_bad_bodies_are_bad_requests_in_openais_shape(serve: Serve, data: bytes) -> None:
    async with serve() as worker:
        headers = {"Content-Type": "application/json"}
        async with worker.http.post("/v1/chat/completions", data=data, headers=headers) as response:
            assert response.status == 400
            error = (await response.json())["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
