"""Anthropic's official client at the queen."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from rbee.errors import WorkerLost
from rbee.wire.events import Call, End, Failure, StopReason, Token
from rbee.wire.workers import WorkerState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import TOKEN, Running, soon, words

HELLO: Any = [{"role": "user", "content": "hi there"}]
WEATHER: Any = {"name": "weather", "input_schema": {"type": "object"}}


def client(queen: Running, **keys: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=queen.url, max_retries=0, **(keys or {"api_key": TOKEN}))


@pytest.fixture
async def worker(queen: Running) -> AsyncIterator[FakeWorker]:
    async with FakeWorker().serve() as made, FakePool("blep", made).serve() as pool:
        await queen.hear(pool)
        yield made


async def test_anthropics_client_is_answered(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        whole = await ai.messages.create(model="tiny", max_tokens=3, messages=HELLO, system="Be brief.")
        assert (whole.content[0].text, whole.stop_reason, whole.usage.output_tokens) == (words(3), "max_tokens", 3)
        async with ai.messages.stream(model="tiny", max_tokens=3, messages=HELLO) as stream:
            assert "".join([text async for text in stream.text_stream]) == words(3)
            made = await stream.get_final_message()
        assert (made.stop_reason, made.usage.input_tokens) == ("max_tokens", 3)
    assert [message.content for message in worker.requests[0].messages or ()] == ["Be brief.", "hi there"]


async def test_either_header_is_who_one_is(queen: Running, worker: FakeWorker) -> None:
    async with client(queen, auth_token=TOKEN) as bearer, client(queen, api_key="wrong" * 9) as stranger:
        assert (await bearer.messages.create(model="tiny", max_tokens=1, messages=HELLO)).role == "assistant"
        with pytest.raises(anthropic.AuthenticationError):
            await stranger.messages.create(model="tiny", max_tokens=1, messages=HELLO)


async def test_the_official_runner_of_tools_sends_the_whole_conversation(queen: Running, worker: FakeWorker) -> None:
    said, used = (
        End(tokens_in=3, tokens_out=2, stop_reason=reason, decode_ms=1.0, ttft_ms=1.0)
        for reason in (StopReason.EOS, StopReason.TOOL_CALLS)
    )
    worker.script = [Call(i=0, index=0, id="call-1", name="weather", arguments='{"place": "here"}', ids=(1,)), used]

    @anthropic.beta_async_tool
    async def weather(place: str) -> str:
        """Tell the weather."""
        worker.script = [Token(i=0, t="It is sunny.", ids=(1,)), said]
        return f"sun {place}"

    async with client(queen) as ai:
        made = await ai.beta.messages.tool_runner(
            model="tiny", max_tokens=9, messages=HELLO, tools=[weather]
        ).until_done()
    assert [block.text for block in made.content if block.type == "text"] == ["It is sunny."]
    assert [message.content for message in worker.requests[-1].messages or ()] == ["hi there", "", "sun here"]


async def test_a_tool_is_used(queen: Running, worker: FakeWorker) -> None:
    worker.script = [
        Call(i=0, index=0, id="call-1", name="weather", ids=(1,)),
        Call(i=1, index=0, arguments='{"a": 1}', ids=(2,)),
        End(tokens_in=3, tokens_out=2, stop_reason=StopReason.TOOL_CALLS, decode_ms=1.0, ttft_ms=1.0),
    ]
    async with client(queen) as ai:
        asked: Any = {"model": "tiny", "max_tokens": 9, "messages": HELLO, "tools": [WEATHER]}
        used = await ai.messages.create(**asked)
        async with ai.messages.stream(**asked) as stream:
            streamed = await stream.get_final_message()
    for made in (used, streamed):
        assert (made.content[0].name, made.content[0].input, made.stop_reason) == ("weather", {"a": 1}, "tool_use")


async def test_which_sequence_ended_it_is_said(queen: Running, worker: FakeWorker) -> None:
    end = End(tokens_in=3, tokens_out=1, stop_reason=StopReason.STOP, decode_ms=1.0, ttft_ms=1.0, stop="\n")
    worker.script = [Token(i=0, t="a"), end]
    async with client(queen) as ai:
        made = await ai.messages.create(model="tiny", max_tokens=9, messages=HELLO, stop_sequences=["\n"])
    assert (made.stop_reason, made.stop_sequence) == ("stop_sequence", "\n")


async def test_tokens_are_counted_by_a_worker_that_is_awake(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        counted = await ai.messages.count_tokens(model="tiny", messages=HELLO, system="Be brief.")
    assert (counted.input_tokens, worker.counted, worker.requests) == (4, 1, [])


async def test_where_none_is_awake_one_is_woken_to_count(queen: Running, worker: FakeWorker) -> None:
    queen.heard[0].states[worker.id] = WorkerState.ASLEEP
    await queen.say(queen.heard[0])
    async with client(queen) as ai:
        assert (await ai.messages.count_tokens(model="tiny", messages=HELLO)).input_tokens == 3
    assert [request.max_tokens for request in worker.requests] == [1]


async def test_errors_have_anthropics_shape(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        with pytest.raises(anthropic.NotFoundError) as unknown:
            await ai.messages.create(model="nonsense", max_tokens=1, messages=HELLO)
        body: Any = unknown.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
        assert (body["error"]["code"], bool(body["request_id"])) == ("model_not_found", True)
        with pytest.raises(anthropic.BadRequestError, match="thinking"):
            await ai.messages.create(
                model="tiny", max_tokens=9, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
            )


async def test_a_failure_in_mid_stream_is_an_error_event(queen: Running, worker: FakeWorker) -> None:
    lost = WorkerLost("worker-cpu-0 ended")
    worker.script = [Token(i=0, t="a"), Failure(code="internal", message=lost.message)]
    async with client(queen) as ai:
        with pytest.raises(anthropic.APIStatusError, match="worker-cpu-0 ended"):
            async with ai.messages.stream(model="tiny", max_tokens=9, messages=HELLO) as stream:
                assert [text async for text in stream.text_stream] == ["a"]


async def test_a_client_that_goes_away_cancels_its_job(queen: Running, worker: FakeWorker) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        asking = asyncio.create_task(ai.messages.create(model="tiny", max_tokens=9, messages=HELLO))
        await soon(lambda: any(job.tokens for job in queen.queen.jobs.live.values()))
        asking.cancel()
        await soon(lambda: worker.cancelled)


async def test_models_are_listed_for_it(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        assert [(model.id, model.type, model.lifecycle) async for model in ai.models.list()] == [
            ("tiny", "model", "active")
        ]
        assert (await ai.models.retrieve("tiny")).display_name == "tiny"
        with pytest.raises(anthropic.NotFoundError):
            await ai.models.retrieve("nonsense")
