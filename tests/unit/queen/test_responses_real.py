"""Responses by a real worker: chains of them, with tools, and several at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.assets import tiny_gguf
from tests.fakes.worker_server import FakePool
from tests.support.real_worker import real_worker
from tests.unit.queen.conftest import Running
from tests.unit.queen.test_responses_routes import client

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"place": {"const": "Utrecht"}},
        "required": ["place"],
        "additionalProperties": False,
    },
}
ASKED: Any = {"model": "tiny", "max_output_tokens": 600, "parallel_tool_calls": False}


def form(said: str) -> Any:
    """Return the form of an answer that can only be one thing."""
    only = {"properties": {"said": {"const": said}}, "required": ["said"], "additionalProperties": False}
    return {"format": {"type": "json_schema", "name": "it", "schema": {"type": "object", **only}}}


@pytest.fixture
async def ai(queen: Running, tmp_path: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    weights = tiny_gguf(tmp_path / "roomy.gguf", context_tokens=4096, quantised=True)
    async with (
        real_worker(tmp_path, weights, ctx=4096) as worker,
        FakePool("blep", worker.face).serve() as pool,
        client(queen) as made,
    ):
        await queen.hear(pool)
        yield made


async def test_a_chain_of_calls_and_what_they_gave(ai: openai.AsyncOpenAI) -> None:
    first = await ai.responses.create(**ASKED, input="weather?", tools=[WEATHER], tool_choice="required")
    (call,) = first.output
    assert call.type == "function_call" and json.loads(call.arguments) == {"place": "Utrecht"}
    gave: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    second = await ai.responses.create(
        **ASKED, input=gave, tools=[WEATHER], tool_choice="none", previous_response_id=first.id, text=form("rain")
    )
    assert json.loads(second.output_text) == {"said": "rain"}
    await ai.responses.delete(first.id)
    third = await ai.responses.create(**ASKED, input="so?", previous_response_id=second.id, text=form("take a coat"))
    assert json.loads(third.output_text) == {"said": "take a coat"}
    assert first.usage and second.usage and third.usage
    assert third.usage.input_tokens > second.usage.input_tokens


async def test_a_call_that_was_cut_short_can_be_gone_on_from(ai: openai.AsyncOpenAI) -> None:
    cut: Any = {**ASKED, "max_output_tokens": 55}
    first = await ai.responses.create(**cut, input="weather?", tools=[WEATHER], tool_choice="required")
    (call,) = first.output
    assert (call.type, first.status) == ("function_call", "incomplete")
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.arguments)
    second = await ai.responses.create(**ASKED, input="go on", previous_response_id=first.id, text=form("yes"))
    assert json.loads(second.output_text) == {"said": "yes"}


async def test_several_at_once_are_each_their_own(ai: openai.AsyncOpenAI) -> None:
    async def one(said: str) -> str:
        async with ai.responses.stream(**ASKED, input="hi", text=form(said)) as stream:
            return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])

    words = [f"{letter}é€😀" * 20 for letter in "abcd"]
    told = await asyncio.gather(*(one(word) for word in words))
    assert [json.loads(each)["said"] for each in told] == words
