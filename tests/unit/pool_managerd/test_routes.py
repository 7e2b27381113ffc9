"""What HTTP adds to the pool: streams or one answer, statuses, bounds, and the queen told at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rbee.client.http import HttpClient
from rbee.errors import InvalidRequest, ModelNotFound, WorkerOom
from rbee.wire import codec
from rbee.wire.workers import WorkerExit
from tests.fakes.pool import GIB, FakePool
from tests.support.pool_daemon import Beats, pool_daemon

SPEC = {"backend": "cpu", "model": "tiny"}
OOM = WorkerExit(
    result="oom-kill", code="killed/KILL", oom=True, memory_peak_bytes=GIB, memory_limit_bytes=GIB, at_ms=6000
)


@contextlib.asynccontextmanager
async def asking(pool: FakePool, beats: Beats | None = None) -> AsyncIterator[HttpClient]:
    async with pool_daemon(pool, beats=beats) as url, HttpClient(url, source="pool") as http:
        yield http


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v2/workers", SPEC, 201),
        ("POST", "/v2/workers", {**SPEC, "model": "none"}, 404),
        ("POST", "/v2/models", {"model": "qwen"}, 200),
        ("POST", "/v2/models/import", {"path": "/models/a.gguf"}, 201),
        ("POST", "/v2/models/tiny/verify", None, 200),
        ("DELETE", "/v2/models/tiny", None, 204),
        ("DELETE", "/v2/workers/nobody", None, 404),
        ("POST", "/v2/drain", None, 204),
    ],
)
async def test_each_answer_has_its_status(method: str, path: str, body: object, status: int) -> None:
    async with (
        pool_daemon(FakePool()) as url,
        aiohttp.ClientSession(url) as session,
        session.request(method, path, json=body) as response,
    ):
        assert response.status == status


async def test_a_spawn_waits_and_answers_with_the_worker_when_no_stream_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with asking(FakePool()) as http:
        assert (await http.call("POST", "/v2/workers", body=SPEC))["id"] == "worker-cpu-0"
    assert "worker.made worker=worker-cpu-0 model=tiny backend=cpu need_bytes=" in capsys.readouterr().err


async def test_a_spawn_as_a_stream_is_progress_and_then_ready() -> None:
    async with asking(FakePool()) as http:
        frames = [frame async for frame in http.stream("POST", "/v2/workers", body=SPEC)]
    assert [frame.event for frame in frames] == ["progress", "progress", "ready"]
    assert codec.parse_json(frames[-1].data.encode())["worker"]["id"] == "worker-cpu-0"


async def test_a_refusal_before_the_stream_has_its_own_status() -> None:
    async with asking(FakePool()) as http:
        with pytest.raises(ModelNotFound):
            await anext(http.stream("POST", "/v2/workers", body={**SPEC, "model": "none"}))


async def test_a_failure_on_the_way_is_the_event_error_with_the_request_id() -> None:
    pool = FakePool()
    pool.units.will_end = OOM
    async with asking(pool) as http:
        stream = http.stream("POST", "/v2/workers", body=SPEC, headers={"X-Request-Id": "req-7"})
        frames = [frame async for frame in stream]
    envelope = codec.parse_json(frames[-1].data.encode())["error"]
    assert (frames[-1].event, envelope["code"], envelope["source"]) == ("error", WorkerOom.code, "pool:blep")
    assert envelope["request_id"] == "req-7"


async def test_every_wrong_field_is_named_and_nothing_was_made() -> None:
    pool = FakePool()
    async with asking(pool) as http:
        with pytest.raises(InvalidRequest) as raised:
            await http.call("POST", "/v2/workers", body={**SPEC, "slots": 0, "gpu": "all", "colour": "red"})
    assert {field["field"] for field in raised.value.details["fields"]} == {"slots", "gpu", "colour"}
    assert pool.units.workers == {}


@pytest.mark.parametrize("lines", ["0", "10001", "many"])
async def test_how_many_log_lines_is_bounded(lines: str) -> None:
    async with asking(FakePool()) as http:
        with pytest.raises(InvalidRequest, match="lines"):
            await http.call("GET", "/v2/workers/worker-cpu-0/logs", params={"lines": lines})


async def test_the_queen_hears_at_once_of_changes_and_when_she_asks() -> None:
    beats = Beats()
    async with asking(FakePool(), beats) as http:
        await http.call("GET", "/v2/workers")
        await http.call("GET", "/v2/models")
        assert beats.count == 0
        await http.call("GET", "/v2/state")
        assert beats.count == 1
        await http.call("POST", "/v2/workers", body=SPEC)
        assert beats.count == 2
        with pytest.raises(ModelNotFound):
            await http.call("DELETE", "/v2/models/none")
        assert beats.count == 3


async def test_who_changed_something_is_answered_when_the_queen_has_heard_it() -> None:
    beats = Beats()
    beats.heard.clear()
    async with asking(FakePool(), beats) as http, asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(http.call("POST", "/v2/models/import", body={"path": "/models/a.gguf"}))
        stream = http.stream("POST", "/v2/workers", body=SPEC)
        progress = [await anext(stream), await anext(stream)]
        ready = tasks.create_task(anext(stream))
        while beats.count < 2:
            await http.call("GET", "/v2/models")
        assert [frame.event for frame in progress] == ["progress", "progress"]
        assert not answer.done()
        assert not ready.done()
        beats.heard.set()
    assert answer.result()["id"]
    assert ready.result().event == "ready"
