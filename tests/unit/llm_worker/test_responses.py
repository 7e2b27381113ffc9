"""Responses at a worker: by the real engine, through the official client, and its stream by the package's own types."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from rbee.wire.events import End, StopReason
from tests.unit.llm_worker.conftest import Serve, Worker
from tests.unit.llm_worker.test_openai_routes import client

STREAMED: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"here": {"type": "boolean"}}, "required": ["here"]},
    "strict": False,
}
ASKED: Any = {"model": "tiny", "input": "hi", "max_output_tokens": 20, "temperature": 0}


async def streamed(worker: Worker, **asked: Any) -> list[Any]:
    """Return the events of a stream, each as the package has it, with nothing of another type in it."""
    async with worker.http.post("/v1/responses", json={**ASKED, **asked, "stream": True}) as response:
        assert response.status == 200
        frames = (await response.text()).strip().split("\n\n")
    lines = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames]
    events = [STREAMED.validate_python(json.loads(line["data"]), strict=True) for line in lines]
    assert [line["event"] for line in lines] == [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


async def test_what_is_streamed_is_what_is_answered_whole(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        whole = await ai.responses.create(**ASKED, instructions="Be brief.")
        async with worker.http.post("/v1/responses", json={**ASKED, "instructions": "Be brief."}) as response:
            Response.model_validate(await response.json(), strict=True)
        events = await streamed(worker, instructions="Be brief.")
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == whole.output_text != ""
    assert (whole.status, whole.store, events[-1].type) == ("incomplete", False, "response.incomplete")
    assert whole.usage is not None and whole.usage.output_tokens == 20
    assert events[-1].response.usage.total_tokens == whole.usage.total_tokens


async def test_a_tool_is_called_and_what_it_gave_is_read(serve: Serve, roomy: Path) -> None:
    wanted: Any = {**ASKED, "tools": [WEATHER], "max_output_tokens": 80}
    async with serve(roomy, ctx=4096) as worker, client(worker) as ai:
        asked = await ai.responses.create(**wanted, tool_choice="required", parallel_tool_calls=False)
        events = await streamed(worker, **wanted, tool_choice="required", parallel_tool_calls=False)
        (call,) = asked.output
        assert call.type == "function_call" and call.name == "weather"
        assert isinstance(json.loads(call.arguments)["here"], bool)
        (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
        assert done.arguments == call.arguments
        conversation: Any = [
            {"role": "user", "content": "hi"},
            call.to_dict(),
            {"type": "function_call_output", "call_id": call.call_id, "output": "sun"},
        ]
        after = await ai.responses.create(**{**wanted, "input": conversation, "tool_choice": "none"})
    assert after.usage is not None and asked.usage is not None
    assert after.usage.input_tokens > 0 and after.output_text


async def test_json_by_a_schema(serve: Serve) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    form: Any = {"format": {"type": "json_schema", "name": "it", "schema": schema, "strict": True}}
    async with serve() as worker, client(worker) as ai:
        answer = await ai.responses.create(**{**ASKED, "max_output_tokens": 60}, text=form)
        async with ai.responses.stream(**{**ASKED, "max_output_tokens": 60}, text=form) as stream:
            built = await (await stream.until_done()).get_final_response()
    assert isinstance(json.loads(answer.output_text)["yes"], bool)
    assert (built.output_text, built.status) == (answer.output_text, "completed")


async def test_a_worker_keeps_no_answers_and_says_who_does(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        made = await ai.responses.create(**ASKED, store=True)
        assert made.store is False
        with pytest.raises(openai.BadRequestError, match="keeps no answers; ask the queen") as going_on:
            await ai.responses.create(**ASKED, previous_response_id=made.id)
        assert going_on.value.param == "previous_response_id"
        for look in (ai.responses.retrieve, ai.responses.delete, ai.responses.cancel):
            with pytest.raises(openai.NotFoundError, match="a worker keeps none") as caught:
                await look(made.id)
            assert caught.value.body["hint"].startswith("ask the queen")  # type: ignore[index]


async def test_what_cannot_be_done_is_refused_as_everywhere(serve: Serve) -> None:
    async with serve() as worker, client(worker) as ai:
        with pytest.raises(openai.NotFoundError, match="this worker has tiny"):
            await ai.responses.create(**{**ASKED, "model": "another"})
        with pytest.raises(openai.BadRequestError) as background:
            await ai.responses.create(**ASKED, background=True)
        assert background.value.param == "background"
        with pytest.raises(openai.BadRequestError) as too_long:
            await ai.responses.create(**{**ASKED, "input": "word " * 2000}, stream=True)
        assert too_long.value.code == "context_too_long"


async def test_a_client_that_goes_away_ends_its_answer(serve: Serve, roomy: Path) -> None:
    asked: Any = {**ASKED, "max_output_tokens": 4000, "extra_body": {"ignore_eos": True}}
    async with serve(roomy, ctx=4096) as worker, client(worker) as ai:
        stream = await ai.responses.create(**asked, stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        (session,) = worker.service.sessions._all.values()
        await stream.close()
        await worker.service.sessions.quiet()
    assert session.job.startswith("resp_")
    end = session.events[-1]
    assert isinstance(end, End) and end.stop_reason is StopReason.CANCELLED
