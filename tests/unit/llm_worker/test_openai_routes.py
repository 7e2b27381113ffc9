"""OpenAI's routes, called by the official client, and by hand where it would not let us."""

from typing import Any

import openai
import pytest

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
    assert chunks[-1].usage == whole.usage


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


async def test_another_model_is_not_found(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.NotFoundError, match="this worker has tiny, not gpt-4") as caught:
            await ai.chat.completions.create(model="gpt-4", messages=USER)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_done_is_refused_by_name(serve: Serve, stream: bool) -> None:
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError) as caught:
            await ai.chat.completions.create(model="tiny", messages=USER, n=2, stream=stream)
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
