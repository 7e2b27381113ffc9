"""Responses at the queen: the official client, what is kept of an answer, for whom and how long."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from rbee.wire.events import Call, End, StopReason, Token
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import ToolCall
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import ANN, TOKEN, Running, eventually, running, soon, words

WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
CALLS = [
    Call(i=0, index=0, id="call-1", name="weather", ids=(1,)),
    Call(i=1, index=0, arguments="{}", ids=(2,)),
    End(tokens_in=3, tokens_out=2, stop_reason=StopReason.TOOL_CALLS, decode_ms=1.0, ttft_ms=1.0),
]


def client(queen: Running, key: str = TOKEN) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{queen.url}/v1", api_key=key, max_retries=0)


async def found(ai: openai.AsyncOpenAI, name: str) -> bool:
    """Say whether the answer can be found yet; who made it hears of it no sooner."""
    try:
        await ai.responses.retrieve(name)
    except openai.NotFoundError:
        return False
    return True


@pytest.fixture
async def worker(queen: Running) -> AsyncIterator[FakeWorker]:
    async with FakeWorker().serve() as made, FakePool("blep", made).serve() as pool:
        await queen.hear(pool)
        yield made


async def test_openais_client_is_answered(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        whole = await ai.responses.create(model="tiny", input="hi", instructions="Be brief.", max_output_tokens=3)
        assert (whole.output_text, whole.status, whole.store) == (words(3), "incomplete", True)
        async with ai.responses.stream(model="tiny", input="hi", max_output_tokens=3) as stream:
            said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        assert "".join(said) == words(3)
    assert [message.content for message in worker.requests[0].messages or ()] == ["Be brief.", "hi"]


async def test_a_tool_is_called_and_its_result_read(queen: Running, worker: FakeWorker) -> None:
    worker.script = list(CALLS)
    async with client(queen) as ai:
        asked = await ai.responses.create(model="tiny", input="weather?", tools=[WEATHER])
        (call,) = asked.output
        assert (call.type, asked.status) == ("function_call", "completed")
        worker.script = []
        gave: Any = [{"type": "function_call_output", "call_id": "call-1", "output": "sun"}]
        said = await ai.responses.create(
            model="tiny", input=gave, previous_response_id=asked.id, instructions="Be brief.", max_output_tokens=2
        )
    assert said.previous_response_id == asked.id
    assert worker.requests[-1].messages == (
        Message(role=Role.SYSTEM, content="Be brief."),
        Message(role=Role.USER, content="weather?"),
        Message(role=Role.ASSISTANT, content="", tool_calls=(ToolCall(id="call-1", name="weather", arguments="{}"),)),
        Message(role=Role.TOOL, content="sun", tool_call_id="call-1"),
    )


async def test_instructions_are_not_carried_over(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        first = await ai.responses.create(model="tiny", input="1", instructions="Be brief.", max_output_tokens=1)
        await ai.responses.create(model="tiny", input="2", previous_response_id=first.id, max_output_tokens=1)
    assert [message.content for message in worker.requests[-1].messages or ()] == ["1", words(1), "2"]


async def test_an_answer_is_found_again_until_it_is_deleted(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        made = await ai.responses.create(model="tiny", input="hi", metadata={"a": "b"}, max_output_tokens=3)
        found = await ai.responses.retrieve(made.id)
        assert found.to_dict() == made.to_dict() | {"created_at": found.created_at}
        await ai.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError) as caught:
            await ai.responses.create(model="tiny", input="hi", previous_response_id=made.id)
        assert caught.value.param == "previous_response_id"
    assert (await queen.client.get_job(made.id)).state == "completed"
    assert [frame.event for frame in await queen.frames(f"/v2/tasks/{made.id}/events")] == ["queued", "started", "end"]


async def test_what_shall_not_be_stored_cannot_be_gone_on_from(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        made = await ai.responses.create(model="tiny", input="hi", store=False, max_output_tokens=1)
        assert made.store is False
        with pytest.raises(openai.NotFoundError):
            await ai.responses.create(model="tiny", input="hi", previous_response_id=made.id)


async def test_a_running_answer_can_be_cancelled_by_another(queen: Running, worker: FakeWorker) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        asking = asyncio.create_task(ai.responses.create(model="tiny", input="hi", max_output_tokens=9))
        await soon(lambda: any(job.tokens == 2 for job in queen.queen.jobs.live.values()))
        (name,) = queen.queen.jobs.live
        await eventually(partial(found, ai, name))
        assert (await ai.responses.retrieve(name)).status == "in_progress"
        with pytest.raises(openai.ConflictError):
            await ai.responses.delete(name)
        with pytest.raises(openai.ConflictError):
            await ai.responses.create(model="tiny", input="hi", previous_response_id=name)
        cancelled = await ai.responses.cancel(name)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", words(2))
        with pytest.raises(openai.ConflictError):
            await asking


async def test_a_client_that_goes_away_cancels_its_job(queen: Running, worker: FakeWorker) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        asking = asyncio.create_task(ai.responses.create(model="tiny", input="hi", max_output_tokens=9))
        await soon(lambda: any(job.tokens for job in queen.queen.jobs.live.values()))
        asking.cancel()
        await soon(lambda: worker.cancelled)


async def test_errors_have_openais_shape(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai, client(queen, "wrong" * 9) as stranger:
        with pytest.raises(openai.NotFoundError) as unknown:
            await ai.responses.create(model="nonsense", input="hi")
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as wrong:
            await ai.responses.create(model="tiny", input="hi", background=True)
        assert wrong.value.param == "background"
        with pytest.raises(openai.AuthenticationError):
            await stranger.responses.create(model="tiny", input="hi")


async def test_an_answer_is_its_callers_own(tmp_path: Path) -> None:
    callers = {"ann": "sha256:" + hashlib.sha256(ANN.encode()).hexdigest()}
    async with (
        running(tmp_path / "queen.sqlite", callers=callers) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        async with client(queen) as operator, client(queen, ANN) as ann:
            hers = await ann.responses.create(model="tiny", input="hi", max_output_tokens=1)
            his = await operator.responses.create(model="tiny", input="hi", max_output_tokens=1)
            assert (await ann.responses.retrieve(hers.id)).output_text == words(1)
            for steal in (ann.responses.retrieve, ann.responses.delete, ann.responses.cancel):
                with pytest.raises(openai.NotFoundError):
                    await steal(his.id)
            with pytest.raises(openai.NotFoundError):
                await ann.responses.create(model="tiny", input="hi", previous_response_id=his.id)


async def test_where_no_text_is_kept_nothing_can_be_gone_on_from(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "queen.sqlite", retain_text_s=0.0) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        client(queen) as ai,
    ):
        await queen.hear(pool)
        made = await ai.responses.create(model="tiny", input="hi", store=True, max_output_tokens=1)
        assert (made.output_text, made.store) == (words(1), False)
        with pytest.raises(openai.BadRequestError, match="retain_text_s is 0"):
            await ai.responses.create(model="tiny", input="hi", previous_response_id=made.id)


async def test_an_answer_is_forgotten_with_its_text(queen: Running, worker: FakeWorker) -> None:
    worker.script = [Token(i=0, t="secret", ids=(5,)), *CALLS]
    async with client(queen) as ai:
        made = await ai.responses.create(model="tiny", input="hi", tools=[WEATHER])
        queen.queen.sweeper.retain_text_s = 0
        await queen.queen.sweeper.sweep()
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(made.id)
    assert [frame.event for frame in await queen.frames(f"/v2/tasks/{made.id}/events")] == ["queued", "started", "end"]


async def test_an_answer_is_found_after_the_queen_was_restarted(tmp_path: Path) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "queen.sqlite") as queen, client(queen) as ai:
            await queen.hear(pool)
            made = await ai.responses.create(model="tiny", input="hi", max_output_tokens=2)
        async with running(tmp_path / "queen.sqlite") as queen, client(queen) as ai:
            assert (await ai.responses.retrieve(made.id)).output_text == words(2)
