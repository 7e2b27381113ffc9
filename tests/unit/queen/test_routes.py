"""The queen over HTTP: what comes in wrong, who may do what, OpenAI's dialect, what Prometheus sees."""

import asyncio
import contextlib
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.errors import InvalidRequest, ModelNotFound, NotFound, NotPermitted, RbeeError, Unauthorized
from rbee.queen.metrics import Metrics
from rbee.wire import codec
from rbee.wire.jobs import JobQuery, JobSpec, JobState, Placement
from rbee.wire.pools import PoolRegistration
from rbee.wire.workers import Backend, WorkerSpec
from tests.fakes.worker_server import SECRET, FakePool, FakeWorker
from tests.unit.queen.conftest import ANN, TOKEN, Running, running, soon, text_of, words

SPEC = JobSpec(model="tiny", prompt="hello", max_tokens=3)


@pytest.fixture
async def with_ann(tmp_path: Path) -> AsyncIterator[Running]:
    callers = {"ann": "sha256:" + hashlib.sha256(ANN.encode()).hexdigest(), "bob": "sha256:" + "0" * 64}
    async with running(tmp_path / "queen.sqlite", callers=callers) as made:
        yield made


@contextlib.asynccontextmanager
async def speaking(url: str, token: str) -> AsyncIterator[QueenClient]:
    async with HttpClient(url, token=token) as http:
        yield QueenClient(http)


async def refusal(queen: Running, method: str, path: str, body: Any = None, **headers: str) -> RbeeError:
    with pytest.raises(RbeeError) as refused:
        await queen.http.call(method, path, body=body, headers=headers)
    return refused.value


async def test_every_wrong_field_is_named(queen: Running) -> None:
    error = await refusal(queen, "POST", "/v2/tasks", {"model": "", "max_tokens": 0, "colour": "red", "stop": [1]})
    assert isinstance(error, InvalidRequest)
    fields = {row["field"] for row in error.details["fields"]}
    assert {"model", "max_tokens", "colour", "stop[0]"} <= fields
    assert await queen.client.list_jobs(JobQuery()) == ()


@pytest.mark.parametrize("given", ["abc", "-1", "1.5", "9" * 40, "٣"])
async def test_a_last_event_id_that_is_none_is_refused(queen: Running, given: str) -> None:
    job = await queen.client.submit_job(SPEC)
    with pytest.raises(InvalidRequest, match="Last-Event-ID"):
        async for _ in queen.http.stream("GET", job.events_url, headers={"Last-Event-ID": given}):
            pass


@pytest.mark.parametrize("given", ["abc", "--5", "-1", "0", "%C2%B2", "1.5", "9" * 40, "9" * 5000])
async def test_a_limit_that_is_none_is_refused(queen: Running, given: str) -> None:
    error = await refusal(queen, "GET", f"/v2/tasks?limit={given}")
    assert isinstance(error, InvalidRequest)
    assert [row["field"] for row in error.details["fields"]] == ["limit"]


async def test_a_name_that_looks_like_a_number_is_a_name(queen: Running) -> None:
    await queen.client.submit_job(dataclasses.replace(SPEC, id="12"))
    assert await queen.client.list_jobs(JobQuery(model="7", after="12")) == ()


async def test_what_is_not_there_is_not_found(queen: Running) -> None:
    for method, path in [
        ("GET", "/v2/tasks/none"),
        ("GET", "/v2/tasks/none/events"),
        ("GET", "/v2/tasks/none/explain"),
        ("DELETE", "/v2/tasks/none"),
        ("POST", "/v2/tasks/none/cancel"),
        ("GET", "/v2/pools/none"),
        ("DELETE", "/v2/pools/none"),
        ("POST", "/v2/pools/none/drain"),
        ("DELETE", "/v2/workers/none"),
        ("DELETE", "/v2/workers/none:worker"),
    ]:
        assert isinstance(await refusal(queen, method, path), NotFound), path


async def test_a_pool_id_must_be_a_name_and_the_one_of_its_snapshot(queen: Running) -> None:
    registration = PoolRegistration(instance="0123456789", url="http://blep:9200")
    assert (
        await refusal(queen, "POST", "/v2/pools/UPPER/register", codec.plain(registration))
    ).code == "invalid_request"
    snapshot = codec.plain(FakePool("blep").snapshot())
    assert (await refusal(queen, "POST", "/v2/pools/mac/heartbeat", snapshot)).code == "conflict"


async def test_no_answer_holds_a_workers_secret(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        for path in ("/v2/pools", "/v2/pools/blep", "/v2/workers", "/v2/models", "/v2/meta/capabilities"):
            assert SECRET not in codec.dump_json(await queen.http.call("GET", path)), path
        (shown,) = await queen.client.list_workers()
        assert (shown.id, shown.pool) == ("worker-cpu-0", "blep")


async def test_a_caller_sees_and_cancels_his_own_jobs_only(with_ann: Running) -> None:
    theirs = await with_ann.client.submit_job(SPEC)
    async with speaking(with_ann.url, ANN) as ann:
        mine = await ann.submit_job(SPEC)
        assert mine.caller == "ann"
        assert [job.id for job in await ann.list_jobs(JobQuery())] == [mine.id]
        for refused in (ann.get_job(theirs.id), ann.cancel_job(theirs.id), ann.explain_job(theirs.id)):
            with pytest.raises(NotFound):
                await refused
        await ann.cancel_job(mine.id)
        assert (await with_ann.client.get_job(mine.id)).state is JobState.CANCELLED
        assert (await ann.version()).name == "queen-rbee"
        assert [model.id for model in await ann.list_models()] == ["tiny"]


async def test_a_caller_may_not_operate(with_ann: Running) -> None:
    async with speaking(with_ann.url, ANN) as ann:
        for refused in (
            ann.list_pools(),
            ann.list_workers(),
            ann.get_pool("blep"),
            ann.drain_pool("blep"),
            ann.undrain_pool("blep"),
            ann.remove_pool("blep"),
            ann.stop_worker("worker-cpu-0"),
            ann.heartbeat("blep", FakePool("blep").snapshot()),
            ann.register_pool("blep", PoolRegistration(instance="0123456789", url="http://blep:9200")),
        ):
            with pytest.raises(NotPermitted, match="caller ann may not"):
                await refused
        with pytest.raises(NotPermitted):
            async for _ in ann.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny")):
                pass


async def test_a_stranger_gets_nothing(queen: Running) -> None:
    for token in ("", "not-the-token-not-the-token"):
        async with speaking(queen.url, token) as stranger:
            with pytest.raises(Unauthorized):
                await stranger.list_jobs(JobQuery())


async def test_one_id_of_two_callers_tells_neither_of_the_other(with_ann: Running) -> None:
    spec = JobSpec(model="tiny", prompt="hello", id="same")
    await with_ann.client.submit_job(spec)
    async with speaking(with_ann.url, ANN) as ann:
        assert (await conflict(ann, spec)).code == "conflict"


async def conflict(client: QueenClient, spec: JobSpec) -> RbeeError:
    with pytest.raises(RbeeError) as refused:
        await client.submit_job(spec)
    return refused.value


async def test_the_request_id_goes_on_to_the_worker(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        asked = codec.plain(SPEC)
        answer = await queen.http.call("POST", "/v2/tasks", body=asked, headers={"X-Request-Id": "trace-me"})
        await queen.ended(answer["id"])
        assert worker.request_ids == ["trace-me"]


async def test_drain_stops_the_flow_and_undrain_opens_it(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        await queen.client.drain_pool("blep")
        assert (await queen.client.get_pool("blep")).state == "draining"
        job = await queen.client.submit_job(SPEC)
        assert job.reason == "pool blep, which has tiny, is draining: its operator said so"
        await queen.client.undrain_pool("blep")
        assert text_of(await queen.ended(job.id)) == words(3)
        assert pool.drained == ["drain", "undrain"]


async def test_a_worker_is_spawned_and_stopped_across_pools(queen: Running) -> None:
    async with (
        FakeWorker().serve() as one,
        FakeWorker().serve() as two,
        FakePool("blep").serve() as blep,
        FakePool("mac", two).serve() as mac,
    ):
        blep.to_spawn = [one]
        mac.free_bytes = 1
        await queen.hear(blep, mac)
        told = [event async for event in queen.client.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny"))]
        assert [event.state for event in told] == ["starting", "ready"]
        await queen.hear(blep, mac)
        both = await refusal(queen, "DELETE", "/v2/workers/worker-cpu-0")
        assert (both.code, both.hint) == ("conflict", "say which: blep:worker-cpu-0")
        await queen.client.stop_worker("mac:worker-cpu-0")
        await queen.hear(mac)
        await queen.client.stop_worker("worker-cpu-0")
        assert (blep.gone, mac.gone) == ({"worker-cpu-0"}, {"worker-cpu-0"})


async def test_models_say_who_has_them(queen: Running) -> None:
    async with FakePool("blep", models=("tiny", "mine")).serve() as pool:
        await queen.hear(pool)
        known = {model.id: model for model in await queen.client.list_models()}
        assert known["tiny"].pools == ("blep",) and known["tiny"].present
        assert known["mine"].pools == ("blep",)


async def test_openais_client_is_served(queen: Running) -> None:
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        openai.AsyncOpenAI(base_url=f"{queen.url}/v1", api_key=TOKEN, max_retries=0) as ai,
    ):
        await queen.hear(pool)
        assert [model.id async for model in ai.models.list()] == ["tiny"]
        assert (await ai.models.retrieve("tiny")).id == "tiny"
        asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        whole = await ai.chat.completions.create(**asked)
        assert whole.choices[0].message.content == words(4)
        assert whole.usage is not None and whole.usage.total_tokens == 7
        assert (await queen.client.get_job(whole.id)).state is JobState.COMPLETED
        chunks = [chunk async for chunk in await ai.chat.completions.create(**asked, stream=True)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == words(4)
        assert chunks[-1].choices[0].finish_reason == "length"
        text = await ai.completions.create(model="tiny", prompt="hello", max_tokens=4)
        assert text.choices[0].text == words(4)


async def test_openais_errors_have_openais_shape(queen: Running) -> None:
    async with FakePool("blep").serve() as pool:
        await queen.hear(pool)
        async with openai.AsyncOpenAI(base_url=f"{queen.url}/v1", api_key=TOKEN, max_retries=0) as ai:
            hello: Any = [{"role": "user", "content": "hello"}]
            with pytest.raises(openai.NotFoundError) as missing:
                await ai.chat.completions.create(model="nonsense", messages=hello)
            assert missing.value.code == "model_not_found"
            with pytest.raises(openai.NotFoundError):
                await ai.chat.completions.create(model="nonsense", messages=hello, stream=True)
            with pytest.raises(openai.NotFoundError):
                await ai.embeddings.create(model="nonsense", input="hello")
            with pytest.raises(openai.NotFoundError):
                await ai.models.retrieve("nonsense")
        async with openai.AsyncOpenAI(base_url=f"{queen.url}/v1", api_key="no", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.chat.completions.create(model="tiny", messages=hello)


async def test_an_openai_client_that_goes_away_cancels_its_job(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        hello = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "user": "ann"}
        asking = asyncio.create_task(queen.http.call("POST", "/v1/chat/completions", body=hello))
        await soon(lambda: queen.queen.jobs.live)  # its worker is asked before it is stored
        assert [job.spec.session for job in queen.queen.jobs.live.values()] == ["ann"], "its share of the queue"
        await soon(lambda: worker.requests)
        asking.cancel()
        await soon(lambda: worker.cancelled)
        (job,) = await queen.client.list_jobs(JobQuery())
        await queen.until(job.id, "cancelled")


async def test_metrics_tell_what_happened(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        await queen.hear(pool)
        job = await queen.client.submit_job(SPEC)
        await queen.ended(job.id)
        waiting = await queen.client.submit_job(JobSpec(model="tiny", prompt="x", placement=Placement(pool="blep")))
        await queen.until(waiting.id, "completed")
        await soon(lambda: not queen.queen.jobs.live)
        metrics: Metrics = queen.queen.metrics
        value = metrics.registry.get_sample_value
        assert value("rbee_jobs_ended_total", {"state": "completed"}) == 2
        assert value("rbee_tokens_total", {"direction": "out"}) == 3 + 256
        assert value("rbee_pools", {"state": "ready"}) == 1
        assert value("rbee_workers", {"state": "ready"}) == 1
        assert value("rbee_queue_depth") == 0
        assert (value("rbee_db_write_seconds_count") or 0) > 0
        assert value("rbee_job_wait_seconds_count") == 2


async def test_the_status_line_is_true(queen: Running) -> None:
    assert queen.queen.status_line() == "0 running, 0 queued, 0 pools, 0 workers"
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.pause_at = 1
        await queen.hear(pool)
        jobs = [await queen.client.submit_job(SPEC) for _ in range(3)]
        await soon(lambda: worker.requests)
        assert queen.queen.status_line() == "1 running, 2 queued, 1 pool, 1 worker"
        assert queen.queen.standstill() is None
        worker.pause_at = None
        worker.open.set()
        for job in jobs:
            await queen.until(job.id, "completed")


async def test_a_model_that_only_turns_out_to_be_missing_is_told_in_the_stream(queen: Running) -> None:
    job = await queen.client.submit_job(JobSpec(model="nonsense", prompt="hello"))
    async with FakePool("blep").serve() as pool:
        await queen.hear(pool)
        (code,) = [event.code for _, event in await queen.ended(job.id) if hasattr(event, "code")]
        assert code == ModelNotFound.code


@pytest.mark.parametrize("path", ["/v2/tasks/x", "/v1/responses/x"])
async def test_a_method_that_a_path_with_several_has_not_is_refused_plainly(queen: Running, path: str) -> None:
    async with openai.AsyncOpenAI(base_url=queen.url, api_key=TOKEN) as ai:
        answer = await ai._client.put(path, json={}, headers=ai.auth_headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, DELETE")
    assert answer.json()["error"]["message"] == f"PUT is not allowed on {path}"
