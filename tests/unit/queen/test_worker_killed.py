"""A real worker is killed in the middle of an answer and another goes on: in no dialect does its reader notice."""

import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.assets import tiny_gguf
from tests.fakes.worker_server import FakePool
from tests.support.real_worker import RealWorker, real_worker
from tests.unit.queen.conftest import TOKEN, Running, running

STREAMED: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CUT_AT = 5
"""So many pieces the reader has, when the worker that says them is killed."""

SAID = "aé€😀" * 100
"""What the model has to say, so that it says just that whoever goes on, in characters that are cut anywhere."""

WHOLE = {"said": SAID}
SCHEMA = {
    "type": "object",
    "properties": {"said": {"const": SAID}},
    "required": ["said"],
    "additionalProperties": False,
}
LONG = 3000
TRIES = 5


@dataclass
class Fleet:
    queen: Running
    pool: FakePool
    workers: Sequence[RealWorker]

    def kill(self) -> None:
        """Kill the worker that has the one job there is, if it has not ended yet."""
        for job in self.queen.queen.jobs.live.values():
            (worker,) = [each for each in self.workers if each.id == job.worker]
            self.pool.gone.add(worker.id)
            os.kill(worker.pid, signal.SIGKILL)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    weights = tiny_gguf(tmp_path / "roomy.gguf", context_tokens=4096, quantised=True)
    async with (
        real_worker(tmp_path, weights, ctx=4096) as one,
        real_worker(tmp_path, weights, number=1, ctx=4096) as two,
        FakePool("blep", one.face, two.face).serve() as pool,
        running(tmp_path / "queen.sqlite") as queen,
    ):
        await queen.hear(pool)
        yield Fleet(queen, pool, (one, two))


def cutting(fleet: Fleet) -> Callable[[], None]:
    """Return what is to be called for each piece; at one of them the worker is killed."""
    count = 0

    def piece() -> None:
        nonlocal count
        count += 1
        if count == CUT_AT:
            fleet.kill()

    return piece


async def cut(fleet: Fleet, asks: Any, asked: dict[str, Any]) -> tuple[str, str]:
    """Ask until a worker was killed in the middle: on a busy machine an answer may be whole before it is read."""
    for _ in range(TRIES):
        answer: tuple[str, str] = await asks(fleet, **asked)
        if fleet.pool.gone:
            break
    return answer


async def frames(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """Yield what the ``data`` of each event says."""
    async for line in lines:
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


async def response(fleet: Fleet, **asked: Any) -> tuple[str, str]:
    """Stream a response, hold its events against each other, and return what was said and with which it called."""
    url, piece, events = fleet.queen.url, cutting(fleet), []
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0) as ai:
        body = {"model": "tiny", "input": "hi", "max_output_tokens": LONG, **asked, "stream": True}
        async with ai._client.stream("POST", f"{url}/v1/responses", json=body, headers=ai.auth_headers) as told:
            async for data in frames(told.aiter_lines()):
                events.append(STREAMED.validate_python(data, strict=True))
                if events[-1].type.endswith(".delta"):
                    piece()
        last = events[-1].response
        assert (await ai.responses.retrieve(last.id)).output == last.output
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds.count("response.created") == kinds.count("response.in_progress") == 1
    assert kinds[-1] == "response.completed"
    added = [event.item.id for event in events if event.type == "response.output_item.added"]
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert added == [item.id for item in done] and done == last.output and len(added) == 1
    said = "".join(event.delta for event in events if event.type.endswith(".delta"))
    called = "".join(item.arguments for item in last.output if item.type == "function_call")
    assert said == last.output_text + called
    return last.output_text, called


async def message(fleet: Fleet, **asked: Any) -> tuple[str, str]:
    piece, called = cutting(fleet), ""
    async with anthropic.AsyncAnthropic(base_url=fleet.queen.url, api_key=TOKEN, max_retries=0) as ai:
        hello: Any = [{"role": "user", "content": "hi"}]
        async with ai.messages.stream(model="tiny", max_tokens=LONG, messages=hello, **asked) as told:
            async for event in told:
                if event.type == "content_block_delta":
                    piece()
                    called += event.delta.partial_json if event.delta.type == "input_json_delta" else ""
            made = await told.get_final_message()
    (block,) = made.content
    if block.type == "tool_use":
        assert block.input == json.loads(called)
        return "", called
    assert block.type == "text"
    return block.text, called


async def chat(fleet: Fleet, **asked: Any) -> tuple[str, str]:
    piece, text, called, names = cutting(fleet), "", "", []
    async with openai.AsyncOpenAI(base_url=f"{fleet.queen.url}/v1", api_key=TOKEN, max_retries=0) as ai:
        hello: Any = [{"role": "user", "content": "hi"}]
        asked |= {"model": "tiny", "max_tokens": LONG, "messages": hello, "stream": True}
        async for chunk in await ai.chat.completions.create(**asked):
            piece()
            delta = chunk.choices[0].delta
            text += delta.content or ""
            for call in delta.tool_calls or ():
                assert call.function is not None
                called += call.function.arguments or ""
                names += [call.id] if call.id else []
    assert len(names) == bool(called)
    return text, called


async def line(fleet: Fleet, **asked: Any) -> tuple[str, str]:
    piece, said, called = cutting(fleet), "", ""
    async with ollama.AsyncClient(fleet.queen.url, headers={"Authorization": f"Bearer {TOKEN}"}) as ai:
        hello = [{"role": "user", "content": "hi"}]
        async for chunk in await ai.chat("tiny", hello, stream=True, options={"num_predict": LONG}, **asked):
            said += chunk.message.content or ""
            for call in chunk.message.tool_calls or ():
                called += json.dumps(call.function.arguments)
            piece()
    return said, called


JSON_FORM = {"type": "json_schema", "schema": SCHEMA}
TEXTS: dict[Any, dict[str, Any]] = {
    response: {"text": {"format": {**JSON_FORM, "name": "it"}}},
    message: {"output_config": {"format": JSON_FORM}},
    chat: {"response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA}}},
    line: {"format": SCHEMA},
}
CALLS: dict[Any, dict[str, Any]] = {
    response: {
        "tools": [{"type": "function", "name": "say", "parameters": SCHEMA}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    },
    message: {
        "tools": [{"name": "say", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    },
    chat: {
        "tools": [{"type": "function", "function": {"name": "say", "parameters": SCHEMA}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    },
}


@pytest.mark.parametrize("asks", TEXTS)
async def test_a_text_goes_on_exactly(fleet: Fleet, asks: Any) -> None:
    text, called = await cut(fleet, asks, TEXTS[asks])
    assert (json.loads(text), called) == (WHOLE, "")
    assert fleet.pool.gone


@pytest.mark.parametrize("asks", CALLS)
async def test_a_call_goes_on_exactly(fleet: Fleet, asks: Any) -> None:
    text, called = await cut(fleet, asks, CALLS[asks])
    assert (text, json.loads(called)) == ("", WHOLE)
    assert fleet.pool.gone
