"""Ollama's official client at the queen."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ollama
import pytest

from rbee.client.http import HttpClient
from rbee.errors import InvalidRequest, ModelNotFound, RbeeError
from rbee.wire.catalog import DownloadEvent, ModelFile, ModelKind
from rbee.wire.events import Call, End, Failure, StopReason, Token, Vector
from rbee.wire.workers import WorkerState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import ANN, TOKEN, Running, running, soon, words

HELLO = [{"role": "user", "content": "hi"}]
THREE = {"num_predict": 3}
ENDED = End(tokens_in=3, tokens_out=2, stop_reason=StopReason.EOS, decode_ms=1.0, ttft_ms=1.0)


def client(queen: Running, key: str = TOKEN) -> ollama.AsyncClient:
    return ollama.AsyncClient(queen.url, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
async def worker(queen: Running) -> AsyncIterator[FakeWorker]:
    async with FakeWorker().serve() as made, FakePool("blep", made).serve() as pool:
        await queen.hear(pool)
        yield made


async def test_ollamas_client_is_answered(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        whole = await ai.chat("tiny:latest", HELLO, options=THREE)
        assert (whole.message.content, whole.done_reason, whole.model) == (words(3), "length", "tiny:latest")
        chunks = [chunk async for chunk in await ai.chat("tiny", HELLO, options=THREE, stream=True)]
        assert "".join(chunk.message.content or "" for chunk in chunks) == words(3)
        assert [chunk.done for chunk in chunks] == [False] * 3 + [True]
        made = await ai.generate("tiny", "hi", system="Be brief.", options=THREE)
        assert (made.response, made.eval_count) == (words(3), 3)
        streamed = [chunk.response async for chunk in await ai.generate("tiny", "hi", options=THREE, stream=True)]
        assert "".join(streamed) == words(3)
    assert [message.content for message in worker.requests[2].messages or ()] == ["Be brief.", "hi"]


async def test_a_stream_is_what_one_gets_who_does_not_say(queen: Running, worker: FakeWorker) -> None:
    body = {"model": "tiny", "messages": HELLO, "options": THREE}
    async with client(queen) as ai:
        answer = await ai._client.post("/api/chat", json=body)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(answer.text.splitlines()) == 4


async def test_a_tool_is_called(queen: Running, worker: FakeWorker) -> None:
    def weather(place: str) -> str:
        """Tell the weather.

        Args:
            place: where
        """
        return place

    worker.script = [
        Call(i=0, index=0, id="call-1", name="weather", arguments='{"place": "here"}', ids=(1,)),
        ENDED,
    ]
    async with client(queen) as ai:
        made = await ai.chat("tiny", HELLO, tools=[weather])
    (call,) = made.message.tool_calls or ()
    assert (call.function.name, call.function.arguments) == ("weather", {"place": "here"})
    assert [tool.name for tool in worker.requests[0].tools] == ["weather"]


async def test_texts_become_vectors(queen: Running, worker: FakeWorker) -> None:
    data = base64.b64encode(struct.pack("<2f", 0.0, 1.0)).decode()
    worker.script = [Vector(index=0, data=data, tokens=1), ENDED]
    queen.heard[0].kinds = {"tiny": ModelKind.EMBED}
    await queen.say(queen.heard[0])
    async with client(queen) as ai:
        assert (await ai.embed("tiny", "hi")).embeddings == [[0.0, 1.0]]
        assert (await ai.embeddings("tiny", "hi")).embedding == [0.0, 1.0]


async def test_a_model_that_embeds_can_be_sent_away(queen: Running, worker: FakeWorker) -> None:
    data = base64.b64encode(struct.pack("<2f", 3.0, 4.0)).decode()
    worker.script = [Vector(index=0, data=data, tokens=1), ENDED]
    queen.heard[0].kinds = {"tiny": ModelKind.EMBED}
    await queen.say(queen.heard[0])
    async with client(queen) as ai:
        assert (await ai.embed("tiny", "hi", dimensions=1, keep_alive="5m")).embeddings == [[1.0]]
        assert queen.heard[0].evicted == []
        assert (await ai.embed("tiny", "hi", keep_alive=0)).embeddings == [[3.0, 4.0]]
        assert queen.heard[0].evicted == [worker.id]


async def test_models_are_listed_and_shown(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        assert [model.model for model in (await ai.list()).models] == ["tiny"]
        assert (await ai.show("tiny:latest")).capabilities == ["completion"]
        assert [model.model for model in (await ai.ps()).models] == ["tiny"]
        with pytest.raises(ollama.ResponseError) as caught:
            await ai.show("nonsense")
        assert (caught.value.status_code, "nonsense" in caught.value.error) == (404, True)


async def test_a_model_with_an_adapter_is_listed_shown_and_running_and_an_adapter_is_none(queen: Running) -> None:
    async with (
        FakeWorker(model="tiny+pirate").serve() as worker,
        FakePool("blep", worker, models=("tiny", "pirate")).serve() as pool,
        client(queen) as ai,
    ):
        pool.kinds = {"pirate": ModelKind.ADAPTER}
        await queen.hear(pool)
        listed = {model.model: model for model in (await ai.list()).models}
        assert set(listed) == {"tiny", "tiny+pirate"}
        assert (await ai.show("tiny+pirate:latest")).capabilities == ["completion"]
        (runs,) = (await ai.ps()).models
        assert (runs.model, runs.digest) == ("tiny+pirate", listed["tiny+pirate"].digest)
        with pytest.raises(ollama.ResponseError, match="pirate is an adapter"):
            await ai.show("pirate")
        with pytest.raises(ollama.ResponseError, match="no pool has a model tiny\\+nobody"):
            await ai.show("tiny+nobody")


async def test_workers_that_sleep_are_not_running(queen: Running, worker: FakeWorker) -> None:
    queen.heard[0].states[worker.id] = WorkerState.ASLEEP
    await queen.say(queen.heard[0])
    async with client(queen) as ai:
        assert (await ai.ps()).models == []


async def test_whoever_looks_whether_somebody_is_here_is_answered(queen: Running) -> None:
    async with client(queen) as ai:
        assert (await ai._client.get("/")).text == "rbee is running"
        assert (await ai._client.head("/")).status_code == 200
        assert (await ai._client.get("/api/version")).json()["version"]


async def test_a_model_can_be_loaded_and_sent_away(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        assert (await ai.generate("tiny")).done_reason == "load"
        assert [request.max_tokens for request in worker.requests] == [1]
        assert (await ai.generate("tiny", keep_alive=0)).done_reason == "unload"
    assert queen.heard[0].evicted == [worker.id]


async def test_a_model_is_pulled_by_the_pool_with_most_room(queen: Running, worker: FakeWorker) -> None:
    queen.heard[0].downloads = [
        DownloadEvent(state="downloading", bytes_done=1, bytes_total=5),
        DownloadEvent(state="done", model=ModelFile(id="b", reference="hf:a/b", paths=(), size_bytes=5)),
    ]
    async with client(queen) as ai:
        told = [(line.status, line.completed) async for line in await ai.pull("hf.co/a/b:latest", stream=True)]
        assert (await ai.pull("hf.co/a/b")).status == "success"
    assert told == [("downloading hf:a/b", 1), ("success", None)]
    assert queen.heard[0].downloaded == ["hf:a/b"] * 2


async def test_a_model_that_is_here_is_pulled_where_it_lies_and_one_that_nobody_knows_is_not_found(
    queen: Running, worker: FakeWorker
) -> None:
    file = ModelFile(id="tiny", reference="file:/models/tiny.gguf", paths=(), size_bytes=5)
    async with FakePool("mac", models=()).serve() as roomy, client(queen) as ai:
        roomy.free_bytes = 9 << 30
        await queen.hear(roomy)
        queen.heard[0].downloads = [DownloadEvent(state="done", model=file)]
        assert [line.status async for line in await ai.pull("tiny", stream=True)] == ["success"]
        assert (queen.heard[0].downloaded, roomy.downloaded) == (["tiny"], [])
        for pool in queen.heard:
            pool.download_failure = ModelNotFound("there is no repository a/nobody")
        with pytest.raises(ollama.ResponseError, match="no repository a/nobody") as whole:
            await ai.pull("hf.co/a/nobody")
        with pytest.raises(ollama.ResponseError, match="no repository a/nobody") as streamed:
            await anext(await ai.pull("hf.co/a/nobody", stream=True))  # type: ignore[call-overload]
        assert whole.value.status_code == streamed.value.status_code == 404


async def test_what_the_queen_does_not_do_is_refused(queen: Running, worker: FakeWorker) -> None:
    async with client(queen) as ai:
        with pytest.raises(ollama.ResponseError, match="nothing the queen does") as caught:
            await ai.delete("tiny")
        assert caught.value.status_code == 400
        with pytest.raises(ollama.ResponseError, match="think"):
            await ai.chat("tiny", HELLO, think=True)


async def test_a_longer_context_than_there_is_is_refused(queen: Running, worker: FakeWorker) -> None:
    worker.ctx = 512
    await queen.say(queen.heard[0])
    async with client(queen) as ai:
        assert (await ai.chat("tiny", HELLO, options={"num_ctx": 512, "num_predict": 1})).done
        with pytest.raises(ollama.ResponseError, match="512"):
            await ai.chat("tiny", HELLO, options={"num_ctx": 513})


async def test_a_failure_in_mid_stream_is_a_line_of_its_own(queen: Running, worker: FakeWorker) -> None:
    worker.script = [Token(i=0, t="a"), Failure(code="internal", message="worker-cpu-0 ended")]
    async with client(queen) as ai:
        with pytest.raises(ollama.ResponseError, match="worker-cpu-0 ended"):
            assert [chunk.message.content async for chunk in await ai.chat("tiny", HELLO, stream=True)] == ["a"]


async def test_a_client_that_goes_away_cancels_its_job(queen: Running, worker: FakeWorker) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        stream: Any = await ai.chat("tiny", HELLO, stream=True)
        assert (await anext(stream)).message.content == "w0 "
        await stream.aclose()
        await soon(lambda: worker.cancelled)


async def test_a_client_that_waits_for_it_all_and_goes_away_cancels_its_job(queen: Running, worker: FakeWorker) -> None:
    worker.pause_at = 2
    async with client(queen) as ai:
        asking = asyncio.create_task(ai.chat("tiny", HELLO))
        await soon(lambda: any(job.tokens for job in queen.queen.jobs.live.values()))
        asking.cancel()
        await soon(lambda: worker.cancelled)


async def test_a_named_caller_may_ask_but_not_manage(tmp_path: Path) -> None:
    callers = {"ann": "sha256:" + hashlib.sha256(ANN.encode()).hexdigest()}
    async with (
        running(tmp_path / "queen.sqlite", callers=callers) as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        client(queen, ANN) as ann,
        client(queen, "wrong" * 9) as stranger,
    ):
        await queen.hear(pool)
        assert (await ann.chat("tiny", HELLO, options=THREE)).done
        with pytest.raises(ollama.ResponseError, match="may not download"):
            await ann.pull("tiny")
        with pytest.raises(ollama.ResponseError, match="may not send a model out of memory"):
            await ann.generate("tiny", keep_alive=0)
        with pytest.raises(ollama.ResponseError, match="may not send a model out of memory"):
            await ann.embed("tiny", "hi", keep_alive=0)
        with pytest.raises(ollama.ResponseError, match="may not list workers"):
            await ann.ps()
        with pytest.raises(ollama.ResponseError, match="not known here"):
            await stranger.list()


async def test_an_error_has_ollamas_shape_and_our_facts(queen: Running) -> None:
    async with HttpClient(queen.url, token=TOKEN) as http:
        with pytest.raises(RbeeError):
            await http.call("POST", "/api/chat", body={"model": ""})
    async with client(queen) as ai:
        answer = await ai._client.post("/api/chat", json={"model": ""})
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["code"] == InvalidRequest.code
