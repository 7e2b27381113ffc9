"""Responses at the queen: the official client, what is kept of an answer, for whom and how long."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from rbee.queen import sweeper
from rbee.queen.newcomer import Asker
from rbee.queen.store import events, responses, retention
from rbee.queen.store.models import Response
from rbee.wire.events import Call, End, Failure, StopReason, Token
from rbee.wire.jobs import JobSpec, Message, Role
from rbee.wire.tools import ToolCall
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import ANN, TOKEN, Running, eventually, running, soon, words

WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
CALLS = [
    Call(i=0, index=0, id="call-1", name="weather", ids=(1,)),
    Call(i=1, index=0, arguments="{}", ids=(2,)),
    End(tokens_in=3, tokens_out=2, stop_reason=StopReason.TOOL_CALLS, decode_ms=1.0, ttft_ms=1.0),
]


ENDED = End(tokens_in=3, tokens_out=2, stop_reason=StopReason.EOS, decode_ms=1.0, ttft_ms=1.0)


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


@pytest.mark.parametrize("going_on", [True, False])
async def test_nobody_is_given_half_of_what_is_erased_meanwhile(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, going_on: bool
) -> None:
    page = events.page

    def erased_first(seq: int, after: int) -> Any:
        retention.erase(seq, 1)
        return page(seq, after)

    async with client(queen) as ai:
        made = await ai.responses.create(model="tiny", input="hi", max_output_tokens=3)
        monkeypatch.setattr(events, "page", erased_first)
        with pytest.raises(openai.NotFoundError):
            if going_on:
                await ai.responses.create(model="tiny", input="hi", previous_response_id=made.id)
            else:
                await ai.responses.retrieve(made.id)


async def test_what_was_erased_already_is_not_kept_again(queen: Running, worker: FakeWorker) -> None:
    job = await queen.client.submit_job(JobSpec(model="tiny", prompt="hi", max_tokens=1))
    await queen.ended(job.id)
    store, stored = queen.queen.store, await queen.queen.find(job.id, Asker())
    await store.write(retention.erase, stored.seq, 1)
    await store.write(responses.keep, job.id, {"instructions": "secret"})
    assert await store.read(lambda: Response.select().count()) == 0


async def test_what_a_later_answer_repeats_stays_when_an_earlier_one_is_deleted(
    queen: Running, worker: FakeWorker
) -> None:
    async with client(queen) as ai:
        first = await ai.responses.create(model="tiny", input="1", max_output_tokens=1)
        second = await ai.responses.create(model="tiny", input="2", previous_response_id=first.id, max_output_tokens=1)
        await ai.responses.delete(first.id)
        third = await ai.responses.create(model="tiny", input="3", previous_response_id=second.id, max_output_tokens=1)
    assert third.previous_response_id == second.id
    assert [message.content for message in worker.requests[-1].messages or ()] == ["1", words(1), "2", words(1), "3"]


async def test_a_nul_that_a_model_says_does_not_end_the_conversation(queen: Running, worker: FakeWorker) -> None:
    worker.script = [Token(i=0, t="a\0b", ids=(5,)), ENDED]
    async with client(queen) as ai:
        first = await ai.responses.create(model="tiny", input="1")
        await ai.responses.create(model="tiny", input="2", previous_response_id=first.id)
    assert [message.content for message in worker.requests[-1].messages or ()] == ["1", "a\ufffdb", "2"]


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
        running_still = await ai.responses.retrieve(name)
        assert (running_still.status, running_still.output_text) == ("in_progress", words(2))
        with pytest.raises(openai.ConflictError):
            await ai.responses.delete(name)
        with pytest.raises(openai.ConflictError):
            await ai.responses.create(model="tiny", input="hi", previous_response_id=name)
        cancelled = await ai.responses.cancel(name)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", words(2))
        assert [item.status for item in cancelled.output if item.type == "message"] == ["incomplete"]
        with pytest.raises(openai.ConflictError):
            await asking


async def test_a_stream_is_told_again_from_where_it_was_cut(queen: Running, worker: FakeWorker) -> None:
    asked: Any = {"model": "tiny", "input": "hi", "max_output_tokens": 5}
    async with client(queen) as ai:
        first = [event async for event in await ai.responses.create(**asked, stream=True)]
        name = first[0].response.id  # type: ignore[union-attr]
        again = [event async for event in await ai.responses.retrieve(name, stream=True)]
        rest = [event async for event in await ai.responses.retrieve(name, stream=True, starting_after=6)]
        assert again[2:-1] == first[2:-1] and again[-1].response.output == first[-1].response.output  # type: ignore[union-attr]
        assert rest == again[7:]
        for query in ({"stream": "yes"}, {"starting_after": 3}, {"stream": "true", "starting_after": "x"}):
            with pytest.raises(openai.BadRequestError):
                await ai.responses.retrieve(name, extra_query=query)


async def test_who_reads_a_running_answer_again_reads_it_to_its_end_and_leaves_without_harm(
    queen: Running, worker: FakeWorker
) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        asking = asyncio.create_task(ai.responses.create(model="tiny", input="hi", max_output_tokens=5))
        await soon(lambda: any(job.tokens == 2 for job in queen.queen.jobs.live.values()))
        (name,) = queen.queen.jobs.live
        await eventually(partial(found, ai, name))
        left: Any = await ai.responses.retrieve(name, stream=True)
        async for event in left:
            if event.type == "response.output_text.delta":
                break
        await left.close()
        reading: Any = await ai.responses.retrieve(name, stream=True)
        said = ""
        async for event in reading:
            said += event.delta if event.type == "response.output_text.delta" else ""
            if said == words(2):
                worker.pause_at = None
                worker.open.set()
        assert (said, (await asking).output_text) == (words(5), words(5))


async def test_a_stream_goes_on_at_the_next_queen(tmp_path: Path) -> None:
    asked: Any = {"model": "tiny", "input": "hi", "max_output_tokens": 5, "stream": True}
    deltas: list[Any] = []
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 2
        async with running(tmp_path / "queen.sqlite") as queen, client(queen) as ai:
            await queen.hear(pool)
            reading: Any = await ai.responses.create(**asked)
            name = (await anext(reading)).response.id
            async for event in reading:
                deltas += [event] if event.type == "response.output_text.delta" else []
                if len(deltas) == 2:
                    break
            stopping = asyncio.create_task(queen.queen.stop())
            assert [event.type async for event in reading] == ["response.failed"]
            await stopping
        async with running(tmp_path / "queen.sqlite") as queen, client(queen) as ai:
            await queen.hear(pool)
            worker.pause_at = None
            worker.open.set()
            rest: Any = await ai.responses.retrieve(name, stream=True, starting_after=deltas[-1].sequence_number)
            events = [event async for event in rest]
    deltas += [event for event in events if event.type == "response.output_text.delta"]
    assert "".join(event.delta for event in deltas) == words(5)
    first = deltas[0].sequence_number
    assert [event.sequence_number for event in [*deltas[:2], *events]] == list(range(first, first + 2 + len(events)))
    assert events[-1].type == "response.incomplete" and events[-1].response.output_text == words(5)


async def test_a_cancelled_answer_that_is_streamed_again_fails(queen: Running, worker: FakeWorker) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        first: Any = await ai.responses.create(model="tiny", input="hi", max_output_tokens=9, stream=True)
        name = (await anext(first)).response.id
        async for event in first:
            if event.type == "response.output_text.delta" and event.delta == "w1 ":
                await ai.responses.cancel(name)
        again = [event async for event in await ai.responses.retrieve(name, stream=True)]
    assert event.type == again[-1].type == "response.failed"
    assert event.sequence_number == again[-1].sequence_number == len(again) - 1


async def test_an_answer_that_is_cancelled_while_it_waits_has_said_nothing(queen: Running) -> None:
    async with FakePool("blep").serve() as pool, client(queen) as ai:
        await queen.hear(pool)
        pool.spawning.clear()
        asking = asyncio.create_task(ai.responses.create(model="tiny", input="hi"))
        await soon(lambda: queen.queen.jobs.live)
        (name,) = queen.queen.jobs.live
        await eventually(partial(found, ai, name))
        assert (await ai.responses.retrieve(name)).status == "queued"
        cancelled = await ai.responses.cancel(name)
        assert (cancelled.status, cancelled.output) == ("cancelled", [])
        with pytest.raises(openai.ConflictError):
            await asking
        pool.spawning.set()


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


async def test_an_answer_is_forgotten_with_its_text(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "SOON_S", 0.0)
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


async def test_a_stream_that_ends_while_it_is_read_again_is_read_to_its_end(
    queen: Running, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = responses.told

    def before_its_end(job: str) -> Any:
        kept, entries = told(job) or (None, ())
        return kept, entries[:-1]

    async with client(queen) as ai:
        made = await ai.responses.create(model="tiny", input="hi", max_output_tokens=5)
        monkeypatch.setattr(responses, "told", before_its_end)
        again = [event async for event in await ai.responses.retrieve(made.id, stream=True)]
    assert again[-1].type == "response.incomplete" and again[-1].response.output_text == words(5)


async def test_a_failure_is_an_event_also_for_who_has_all_that_came_before_it(
    queen: Running, worker: FakeWorker
) -> None:
    worker.script = [Token(i=0, t="a", ids=(1,)), Failure(code="internal", message="it broke")]
    async with client(queen) as ai:
        first = [event async for event in await ai.responses.create(model="tiny", input="hi", stream=True)]
        name, last = first[0].response.id, first[-1].sequence_number  # type: ignore[union-attr]
        rest = [event async for event in await ai.responses.retrieve(name, stream=True, starting_after=last - 1)]
        assert [(event.type, event.sequence_number) for event in rest] == [("response.failed", last)]
        assert [event async for event in await ai.responses.retrieve(name, stream=True, starting_after=last)] == []
