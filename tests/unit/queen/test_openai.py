"""What OpenAI's clients ask for beyond one text: choices, calls, vectors, scores. Each is a job, or several."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from rbee.errors import WorkerLost
from rbee.wire.catalog import ModelKind
from rbee.wire.events import Call, Failure, Vector
from rbee.wire.jobs import JobQuery, JobSpec, JobState, Work
from rbee.wire.workers import WorkerState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import TOKEN, Running, soon, words

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def ai(queen: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{queen.url}/v1", api_key=TOKEN, max_retries=0) as made:
        yield made


async def test_choices_are_jobs_of_one_name(queen: Running, ai: openai.AsyncOpenAI) -> None:
    async with FakeWorker(slots=2).serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 4, "n": 3, "seed": 9}
        whole = await ai.chat.completions.create(**asked)
        assert [choice.message.content for choice in whole.choices] == [words(4)] * 3
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 12)
        jobs = {job.id for job in await queen.client.list_jobs(JobQuery())}
        assert jobs == {whole.id, f"{whole.id}-1", f"{whole.id}-2"}
        assert sorted(request.seed or 0 for request in worker.requests) == [9, 10, 11]
        texts = ["", "", ""]
        async for chunk in await ai.chat.completions.create(**asked, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert texts == [words(4)] * 3


async def test_all_choices_end_when_their_caller_goes(queen: Running, ai: openai.AsyncOpenAI) -> None:
    async with FakeWorker(slots=2).serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        asking = asyncio.create_task(ai.chat.completions.create(model="tiny", messages=HELLO, n=3))
        await soon(lambda: len(worker.requests) == 2 and len(queen.queen.jobs.live) == 3)
        await soon(lambda: queen.queen.jobs.readers() == 3)  # whoever is not read yet ends otherwise
        asking.cancel()
        for job in list(queen.queen.jobs.live):
            await queen.until(job, "cancelled")
        await soon(lambda: not queen.queen.jobs.live)


@pytest.mark.parametrize("stream", [False, True])
async def test_all_choices_end_when_one_fails(queen: Running, ai: openai.AsyncOpenAI, stream: bool) -> None:
    async with FakeWorker(slots=1).serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        worker.failure = Failure(code="internal", message="as it was told to")
        with pytest.raises(openai.APIError, match="as it was told to"):
            answer: Any = await ai.completions.create(model="tiny", prompt=["a", "b"], max_tokens=2, stream=stream)
            async for _ in answer:
                pass
        await soon(lambda: not queen.queen.jobs.live)
        states = [job.state for job in await queen.client.list_jobs(JobQuery())]
        assert JobState.FAILED in states and len(states) == 2


async def test_nothing_is_said_where_one_choice_is_refused(queen: Running, ai: openai.AsyncOpenAI) -> None:
    async with FakePool("blep").serve() as pool:
        await queen.hear(pool)
        with pytest.raises(openai.NotFoundError):
            await ai.chat.completions.create(model="nonsense", messages=HELLO, n=2, stream=True)
    assert await queen.client.list_jobs(JobQuery()) == ()


async def test_calls_come_through(queen: Running, ai: openai.AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "now"}}]
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.calls = [
            Call(i=0, index=0, id="call_1", name="now", ids=(7, 8)),
            Call(i=1, index=0, arguments="{}", ids=(9,)),
        ]
        await queen.hear(pool)
        answer = await ai.chat.completions.create(model="tiny", messages=HELLO, tools=tools)
        (call,) = answer.choices[0].message.tool_calls or ()
        assert call.type == "function"
        assert (call.id, call.function.name, call.function.arguments) == ("call_1", "now", "{}")
        assert answer.choices[0].finish_reason == "tool_calls"
        assert worker.requests[0].tools[0].name == "now"
        told = [event for _, event in await queen.ended(answer.id) if isinstance(event, Call)]
        assert [event.ids for event in told] == [(), ()], "the model's tokens are for workers"


async def test_the_tokens_of_calls_are_known_for_another_worker(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.calls = [Call(i=0, index=0, id="call_1", name="now", ids=(7, 8))]
        job = await queen.client.submit_job(JobSpec(model="tiny", prompt="x", max_tokens=3))
        held = queen.queen.jobs.live[job.id]
        await queen.hear(pool)
        await queen.until(job.id, "completed")
        assert list(held.said) == [7, 8]
        assert held.delivered and held.resumable


async def test_embeddings(queen: Running, ai: openai.AsyncOpenAI) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        pool.kinds = {"tiny": ModelKind.EMBED}
        await queen.hear(pool)
        plain = await ai.embeddings.create(model="tiny", input=["a", "b"], encoding_format="float")
        assert [each.embedding for each in plain.data] == [[1.0, 0.0], [1.0, 0.0]]
        assert plain.usage.prompt_tokens == 4
        packed = await ai.embeddings.create(model="tiny", input="a")  # the client asks for base64, and unpacks it
        assert packed.data[0].embedding == [1.0, 0.0]
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            await ai.embeddings.create(model="tiny", input="a", dimensions=3)
        assert {request.work for request in worker.requests} == {Work.EMBED}
        assert worker.counted == 0


async def test_models_are_listed_as_they_can_be_asked_for(queen: Running, ai: openai.AsyncOpenAI) -> None:
    async with (
        FakePool("blep", models=("tiny", "pirate", "polite", "enc")).serve() as pool,
        FakePool("mac", models=("lonely",)).serve() as other,
    ):
        pool.kinds = {"pirate": ModelKind.ADAPTER, "polite": ModelKind.ADAPTER, "enc": ModelKind.EMBED}
        pool.architectures = {"enc": "bert"}
        other.kinds = {"lonely": ModelKind.ADAPTER}
        await queen.hear(pool, other)
        listed = [model.id async for model in ai.models.list()]
        assert sorted(listed) == ["enc", "tiny", "tiny+pirate", "tiny+polite"]
        for name in (*listed, "tiny+pirate+polite", "tiny-0.5m", "tiny-0.5m+pirate", "file:/models/tiny.gguf"):
            assert (await ai.models.retrieve(name)).id == name
        for name in ("tiny+lonely", "enc+pirate", "tiny+enc", "pirate+polite", "tiny+", "lonely"):
            with pytest.raises(openai.NotFoundError):
                await ai.models.retrieve(name)


async def test_nobody_is_woken_for_what_his_model_cannot_do(queen: Running, ai: openai.AsyncOpenAI) -> None:
    models = ("tiny", "enc")
    async with (
        FakeWorker().serve() as tiny,
        FakeWorker("worker-cpu-1", "enc").serve() as enc,
        FakePool("blep", tiny, enc, models=models).serve() as pool,
    ):
        pool.kinds, enc.ctx = {"enc": ModelKind.EMBED}, 64
        pool.states[tiny.id] = WorkerState.ASLEEP
        await queen.hear(pool)
        with pytest.raises(openai.BadRequestError, match="tiny only generates text, and cannot embed") as no_vectors:
            await ai.embeddings.create(model="tiny", input="a")
        assert no_vectors.value.body["hint"].startswith("to embed there is enc;")  # type: ignore[index]
        long: Any = [{"role": "user", "content": "word " * 600}]
        with pytest.raises(openai.BadRequestError, match="enc only embeds texts, and cannot generate"):
            await ai.chat.completions.create(model="enc", messages=long)
    assert (tiny.requests, enc.requests, enc.counted) == ([], [], 0)
    assert await queen.client.list_jobs(JobQuery()) == ()


async def test_vectors_are_told_once_though_a_worker_starts_over(queen: Running) -> None:
    async with (
        FakeWorker("worker-cpu-0").serve() as one,
        FakeWorker("worker-cpu-1").serve() as two,
        FakePool("blep", one, two).serve() as pool,
    ):
        one.pause_at = two.pause_at = 2
        pool.kinds = {"tiny": ModelKind.EMBED}
        await queen.hear(pool)
        job = await queen.client.submit_job(JobSpec(model="tiny", work=Work.EMBED, inputs=("a", "b", "c")))
        await soon(lambda: job.id in queen.queen.jobs.live and queen.queen.jobs.live[job.id].parts == {0, 1})
        first, other = (one, two) if one.requests else (two, one)
        other.pause_at = None
        first.refusals = [WorkerLost("gone", details={"refused": True})] * 9
        pool.gone.add(first.id)
        await first.die()
        await queen.until(job.id, "completed")
        told = [event.index for _, event in await queen.ended(job.id) if isinstance(event, Vector)]
        assert told == [0, 1, 2]
        assert other.requests


async def test_rerank(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        pool.kinds = {"tiny": ModelKind.RERANK}
        await queen.hear(pool)
        asked = {"model": "tiny", "query": "q", "documents": ["a", "ccc", "bb"], "top_n": 2}
        answer = await queen.http.call("POST", "/v1/rerank", body=asked)
        assert [(each["index"], each["relevance_score"]) for each in answer["results"]] == [(1, 3.0), (2, 2.0)]
        assert (await queen.client.get_job(answer["id"])).state is JobState.COMPLETED
