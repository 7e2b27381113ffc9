"""The worker's own routes, over real HTTP, with the real llama.cpp."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rbee.errors import ModelLoadFailed
from rbee.llm_worker.model_engine import ModelEngine
from rbee.wire.sse import Frame, Parser
from tests.assets import Template, tiny_gguf
from tests.unit.llm_worker.asking import until
from tests.unit.llm_worker.conftest import Serve, Worker
from tests.unit.llm_worker.fakes import FakeModel, engine_on


async def frames(response: aiohttp.ClientResponse) -> AsyncIterator[Frame]:
    parser = Parser()
    async for chunk in response.content.iter_any():
        for frame in parser.feed(chunk):
            yield frame


async def infer(worker: Worker, **wanted: Any) -> list[Frame]:
    body = {"prompt": "hello", "max_tokens": 16, "ignore_eos": True, **wanted}
    async with worker.http.post("/v1/inference", json=body) as response:
        assert response.status == 200, await response.text()
        return [frame async for frame in frames(response)]


async def refused(worker: Worker, path: str = "/v1/inference", **how: Any) -> tuple[int, dict[str, Any]]:
    async with worker.http.post(path, **how) as response:
        return response.status, (await response.json())["error"]


def text(said: list[Frame]) -> str:
    return "".join(json.loads(frame.data)["t"] for frame in said if frame.event == "token")


def faulty(model: FakeModel, slots: int = 1) -> ModelEngine:
    return engine_on(model.loader, slots=slots)


async def test_a_generation_as_a_stream(serve: Serve) -> None:
    async with serve() as worker:
        said = await infer(worker, id="job-1", seed=7)
    assert [frame.id for frame in said] == [str(n + 1) for n in range(len(said))]
    assert said[0].event == "started"
    assert json.loads(said[0].data) == {
        "worker": "worker-cpu-0",
        "model": "tiny",
        "seed": 7,
        "pool": None,
        "id": "job-1",
    }
    assert [frame.event for frame in said].count("end") == 1
    end = json.loads(said[-1].data)
    assert (end["tokens_in"], end["tokens_out"], end["stop_reason"]) == (7, 16, "max_tokens")


async def test_an_id_is_made_and_told(serve: Serve) -> None:
    async with serve() as worker:
        job = json.loads((await infer(worker))[0].data)["id"]
        async with worker.http.get(f"/v1/inference/{job}/events") as response:
            assert response.status == 200


async def test_the_same_seed_gives_the_same_text(serve: Serve) -> None:
    async with serve() as worker:
        assert text(await infer(worker, seed=3)) == text(await infer(worker, seed=3))


async def test_the_secret_is_wanted_everywhere_but_on_health(serve: Serve) -> None:
    async with serve() as worker, aiohttp.ClientSession(worker.url) as stranger:
        for path in ("/v1/ready", "/v1/models", "/v1/loading/progress", "/v1/inference/a/events"):
            async with stranger.get(path) as response:
                assert (path, response.status) == (path, 401)
        for path in ("/v1/inference", "/v1/drain", "/v1/chat/completions", "/v1/completions"):
            async with stranger.post(path, json={}) as response:
                assert (path, response.status) == (path, 401)
        async with stranger.get("/v1/ready", headers={"Authorization": "Bearer another-secret-altogether"}) as response:
            assert response.status == 401
        async with stranger.get("/health") as response:
            assert response.status == 200


async def test_ready_says_what_is_there(serve: Serve) -> None:
    async with serve(slots=2) as worker:
        await worker.service.loading.wait()
        async with worker.http.get("/v1/ready") as response:
            assert await response.json() == {
                "ready": True, "state": "ready", "model": "tiny", "worker": "worker-cpu-0", "slots": 2,
                "slots_busy": 0, "progress": 1.0, "context_tokens": 512, "progress_url": "/v1/loading/progress",
            }  # fmt: skip
    assert worker.service.status() == "draining 0/2 slots, tiny"


async def test_loading_can_be_watched_to_its_end(serve: Serve) -> None:
    async with serve() as worker, worker.http.get("/v1/loading/progress") as response:
        said = [frame async for frame in frames(response)]
    assert said[-1].event == "ready"
    assert json.loads(said[-1].data) == {"state": "ready", "progress": 1.0, "message": ""}


async def test_a_request_that_comes_while_loading_waits_and_succeeds(serve: Serve) -> None:
    model, go_on = FakeModel(), threading.Event()

    def slowly(on_progress: Callable[[float], bool]) -> Any:
        on_progress(0.45)
        go_on.wait()
        return model

    engine = engine_on(slowly, ctx=512)
    async with serve(engine=engine) as worker:
        await until(lambda: worker.service.status() == "loading 45% tiny")
        asked = asyncio.ensure_future(infer(worker, max_tokens=3))
        await until(lambda: worker.service.sessions.live == 1)
        async with worker.http.get("/v1/ready") as response:
            assert (await response.json())["ready"] is False
        go_on.set()
        assert text(await asked) == "aaa"


async def test_stopping_while_loading_gives_up_at_once(serve: Serve) -> None:
    begun = threading.Event()

    def endlessly(on_progress: Callable[[float], bool]) -> Any:
        begun.set()
        while on_progress(0.5):
            pass
        raise ModelLoadFailed("given up")

    engine = engine_on(endlessly, ctx=512)
    async with serve(engine=engine) as worker:
        asked = asyncio.ensure_future(infer(worker))
        await asyncio.to_thread(begun.wait, 20)
        await until(lambda: worker.service.sessions.live == 1)
        await worker.service.finish(30.0)
        (only,) = await asked
        assert only.event == "end"


async def test_a_model_that_does_not_load_tells_those_who_wait_and_stops(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"no model")
    async with serve(path) as worker:
        status, error = await refused(worker, json={"prompt": "hi"})
        assert (status, error["code"]) == (502, "model_load_failed")
        assert "invalid magic characters" in error["message"]
        assert worker.service.exit_code == 65
        assert worker.service.status().startswith("failed tiny: ")


async def test_every_wrong_field_is_named(serve: Serve) -> None:
    async with serve() as worker:
        body = {"prompt": 3, "max_tokens": 0, "temperature": "hot", "stop": ["a"] * 5, "seed": -1, "whatever": 1}
        status, error = await refused(worker, json=body)
    assert (status, error["code"], error["source"]) == (400, "invalid_request", "worker:worker-cpu-0")
    assert {each["field"] for each in error["details"]["fields"]} == set(body)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'"x"', b'{"prompt": "\xff"}', b'{"prompt": "a\\u0000b"}', b'{"prompt": "\\ud800"}',
     b'{"prompt": "a", "temperature": NaN}', b"[" * 100_000, b'{"prompt": ""}', b'{"prompt": "a", "messages": []}'],
)  # fmt: skip
async def test_bad_bodies_are_the_callers_error(serve: Serve, data: bytes) -> None:
    async with serve() as worker:
        status, error = await refused(worker, data=data, headers={"Content-Type": "application/json"})
        assert (status, error["code"]) == (400, "invalid_request")
        assert text(await infer(worker))


async def test_a_huge_body_is_refused_and_the_worker_unharmed(serve: Serve) -> None:
    async with serve() as worker:
        try:
            async with worker.http.post(
                "/v1/inference", data=io.BytesIO(b"x" * 100_000_000), headers={"Content-Type": "application/json"}
            ) as response:
                assert response.status == 413
        except aiohttp.ClientError:
            pass  # the connection is closed while the rest is still being sent; which comes first is TCP's business
        assert text(await infer(worker))


async def test_a_prompt_too_long_is_refused_with_both_numbers(serve: Serve) -> None:
    async with serve(ctx=64) as worker:
        status, error = await refused(worker, json={"prompt": "a" * 100, "id": "again"})
        assert (status, error["code"]) == (400, "context_too_long")
        assert error["details"] == {"prompt_tokens": 102, "context_tokens": 64}
        assert await infer(worker, id="again", prompt="a")


async def test_messages_without_a_template_are_refused(serve: Serve, tmp_path: Path) -> None:
    async with serve(tiny_gguf(tmp_path / "m.gguf", template=Template.NONE)) as worker:
        status, error = await refused(worker, json={"messages": [{"role": "user", "content": "hi"}]})
    assert (status, error["code"]) == (400, "invalid_request")
    assert "no chat template" in error["message"]


async def test_the_same_id_while_it_lives_is_a_conflict_and_afterwards_is_not(serve: Serve) -> None:
    async with serve(engine=faulty(FakeModel())) as worker:
        async with worker.http.post("/v1/inference", json={"prompt": "x", "id": "a", "max_tokens": 32_000}) as response:
            assert (await anext(frames(response))).event == "started"
            status, error = await refused(worker, json={"prompt": "x", "id": "a"})
            assert (status, error["code"]) == (409, "conflict")
        await until(lambda: worker.service.sessions.live == 0)
        assert text(await infer(worker, id="a", max_tokens=2)) == "aa"


async def test_a_client_that_leaves_cancels_its_generation(serve: Serve) -> None:
    async with serve(engine=faulty(FakeModel())) as worker:
        async with worker.http.post("/v1/inference", json={"prompt": "x", "id": "a", "max_tokens": 32_000}) as response:
            await anext(frames(response))
            assert worker.service.engine.slots_busy == 1
        await until(lambda: worker.service.sessions.live == 0)
        async with worker.http.get("/v1/inference/a/events") as response:
            last = [frame async for frame in frames(response)][-1]
        assert json.loads(last.data)["stop_reason"] == "cancelled"
        assert worker.service.engine.slots_busy == 0


async def test_delete_cancels_and_can_be_repeated(serve: Serve) -> None:
    async with serve(engine=faulty(FakeModel())) as worker:
        async with worker.http.post("/v1/inference", json={"prompt": "x", "id": "a", "max_tokens": 32_000}) as response:
            stream = frames(response)
            await anext(stream)
            async with worker.http.delete("/v1/inference/a") as answer:
                assert answer.status == 204
            rest = [frame async for frame in stream]
        assert json.loads(rest[-1].data)["stop_reason"] == "cancelled"
        async with worker.http.delete("/v1/inference/a") as answer:
            assert answer.status == 204
        async with worker.http.delete("/v1/inference/unknown") as answer:
            assert answer.status == 404


async def test_delete_ends_one_that_still_waits_for_the_model(serve: Serve) -> None:
    go_on = threading.Event()

    def slowly(on_progress: Callable[[float], bool]) -> Any:
        go_on.wait()
        return FakeModel()

    engine = engine_on(slowly, ctx=512)
    async with serve(engine=engine) as worker:
        asked = asyncio.ensure_future(infer(worker, id="a"))
        await until(lambda: worker.service.sessions.live == 1)
        async with worker.http.delete("/v1/inference/a") as answer:
            assert answer.status == 204
        (only,) = await asked
        assert json.loads(only.data)["stop_reason"] == "cancelled"
        go_on.set()
        await worker.service.loading.wait()


async def test_detached_it_goes_on_and_the_reader_who_comes_back_misses_nothing(serve: Serve) -> None:
    async with serve() as worker:
        whole = await infer(worker, id="whole", seed=5, max_tokens=300)
        body = {"prompt": "hello", "id": "cut", "seed": 5, "max_tokens": 300, "detach_s": 30}
        seen: list[Frame] = []
        async with worker.http.post("/v1/inference", json=body) as response:
            async for frame in frames(response):
                seen.append(frame)
                if len(seen) == 20:
                    break
        while seen[-1].event != "end":
            headers = {"Last-Event-ID": seen[-1].id or ""}
            async with worker.http.get("/v1/inference/cut/events", headers=headers) as response:
                assert response.status == 200
                count = 0
                async for frame in frames(response):
                    seen.append(frame)
                    count += 1
                    if count == 40:
                        break
        assert [int(frame.id or 0) for frame in seen] == list(range(1, len(seen) + 1))
        assert text(seen) == text(whole)


async def test_two_readers_of_one_generation(serve: Serve) -> None:
    async with serve() as worker:
        body = {"prompt": "hello", "id": "a", "seed": 5, "max_tokens": 200, "detach_s": 30}
        async with (
            worker.http.post("/v1/inference", json=body) as first,
            worker.http.get("/v1/inference/a/events") as second,
        ):
            one, two = [f async for f in frames(first)], [f async for f in frames(second)]
    assert one == two


@pytest.mark.parametrize("given", ["9999", "x", "-1", "1e3"])
async def test_a_last_event_id_that_never_was_is_refused(serve: Serve, given: str) -> None:
    async with serve() as worker:
        await infer(worker, id="a")
        async with worker.http.get("/v1/inference/a/events", headers={"Last-Event-ID": given}) as response:
            assert response.status == 400


async def test_attaching_to_a_stranger_is_not_found(serve: Serve) -> None:
    async with serve() as worker, worker.http.get("/v1/inference/nobody/events") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"


async def test_requests_beyond_the_slots_wait_and_beyond_the_line_are_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbee.llm_worker.sessions.WAITING", 2)
    model = FakeModel()
    model.made.hangs.set()
    async with serve(engine=faulty(model)) as worker:
        asked = [asyncio.ensure_future(infer(worker, max_tokens=2)) for _ in range(3)]
        await until(lambda: worker.service.sessions.live == 3)
        async with worker.http.post("/v1/inference", json={"prompt": "x"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert (await response.json())["error"]["code"] == "no_capacity"
        model.made.hangs.clear()
        model.made.let_go.set()
        assert [text(said) for said in await asyncio.gather(*asked)] == ["aa"] * 3


async def test_a_hung_decode_thread_is_seen_though_the_loop_lives(serve: Serve) -> None:
    model = FakeModel()
    model.made.hangs.set()
    async with serve(engine=faulty(model)) as worker:
        asked = asyncio.ensure_future(infer(worker, max_tokens=2))
        await asyncio.to_thread(model.made.entered.wait, 20)
        assert worker.service.standstill() is None
        worker.service.patience_s = 0.05
        await until(lambda: worker.service.standstill() is not None)
        async with worker.http.get("/health") as response:
            assert response.status == 200
        assert worker.service.standstill() == "slot 0 has made no progress for 0.05 s"
        model.made.hangs.clear()
        model.made.let_go.set()
        assert text(await asked) == "aa"
        assert worker.service.standstill() is None


async def test_drain_refuses_the_new_finishes_the_old_and_goes(serve: Serve) -> None:
    model = FakeModel()
    model.made.hangs.set()
    async with serve(engine=faulty(model)) as worker:
        asked = asyncio.ensure_future(infer(worker, max_tokens=2))
        await asyncio.to_thread(model.made.entered.wait, 20)
        async with worker.http.post("/v1/drain") as response:
            assert response.status == 204
        assert worker.service.status() == "draining 1/1 slots, tiny"
        status, error = await refused(worker, json={"prompt": "x"})
        assert (status, error["code"]) == (503, "shutting_down")
        assert worker.stops == []
        model.made.hangs.clear()
        model.made.let_go.set()
        assert text(await asked) == "aa"
        await until(lambda: worker.stops == [True])


async def test_an_idle_worker_goes_and_polling_does_not_keep_it(serve: Serve) -> None:
    async with serve(idle=1) as worker:
        await infer(worker)
        polls = 0
        while not worker.stops:
            async with worker.http.get("/v1/ready") as response:
                assert response.status == 200
            async with worker.http.get("/health"):
                polls += 1
            await asyncio.sleep(0.02)
        assert polls >= 1


async def test_metrics_count_tokens_and_outcomes(serve: Serve) -> None:
    async with serve() as worker:
        await infer(worker, max_tokens=5)
        async with worker.http.get("/metrics") as response:
            said = await response.text()
    assert "rbee_worker_tokens_in_total 7.0" in said
    assert "rbee_worker_tokens_out_total 5.0" in said
    assert 'rbee_worker_generations_total{outcome="max_tokens"} 1.0' in said
    assert "rbee_worker_slots 1.0" in said
    assert "rbee_worker_slots_busy 0.0" in said
    assert "rbee_worker_ttft_seconds_count 1.0" in said


async def test_only_some_of_the_past_is_kept(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbee.llm_worker.sessions.KEPT", 2)
    async with serve() as worker:
        for job in ("a", "b", "c", "d"):
            await infer(worker, id=job, max_tokens=2)
        codes = []
        for job in ("a", "b", "c", "d"):
            async with worker.http.get(f"/v1/inference/{job}/events") as response:
                codes.append(response.status)
    assert codes == [404, 404, 200, 200]
