"""How a worker goes: because it is broken, or to sleep whatever becomes of what it knows."""

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from rbee.llm_worker.model_engine import ModelEngine
from tests.unit.llm_worker.asking import until
from tests.unit.llm_worker.conftest import Serve
from tests.unit.llm_worker.fakes import FakeModel, Panic, engine_on


def refuse() -> None:
    raise ValueError("what somebody asked")


async def test_one_that_is_broken_says_so_to_all_and_goes(serve: Serve) -> None:
    model = FakeModel()
    model.made.hangs.set()
    model.made.panics = Panic("what somebody asked")
    async with serve(engine=engine_on(model.loader)) as worker:
        asked = [asyncio.ensure_future(worker.http.post("/v1/inference", json={"prompt": "hello"})) for _ in range(3)]
        await asyncio.to_thread(model.made.entered.wait, 20)
        await until(lambda: worker.service.sessions.live == 3)
        model.made.let_go.set()
        said = [await response.text() for response in await asyncio.gather(*asked)]
        assert all('"worker_lost"' in each for each in said)
        await until(lambda: worker.stops == [True])
        assert worker.service.exit_code == 70
        assert worker.service.status() == "failed tiny: the thread of w that computes has ended"
        async with worker.http.post("/v1/inference", json={"prompt": "hello"}) as late:
            assert late.status == 502
        async with worker.http.get("/v1/ready") as response:
            assert json.loads(await response.text())["ready"] is False
        assert worker.service.sessions.live == 0


async def test_one_that_breaks_on_its_way_out_is_not_stopped_twice(serve: Serve) -> None:
    model = FakeModel()
    model.made.hangs.set()
    model.made.panics = Panic("what somebody asked")
    async with serve(engine=engine_on(model.loader)) as worker:
        asked = asyncio.ensure_future(worker.http.post("/v1/inference", json={"prompt": "hello"}))
        await asyncio.to_thread(model.made.entered.wait, 20)
        async with worker.http.post("/v1/drain") as response:
            assert response.status == 204
        model.made.let_go.set()
        assert '"worker_lost"' in await (await asked).text()
        await until(lambda: worker.service.exit_code == 70 and len(worker.service._tasks) == 1)  # it waits to be idle
        assert worker.stops == [True]


async def test_one_that_cannot_keep_what_it_knows_goes_to_sleep_all_the_same(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: ModelEngine = engine_on(FakeModel().loader)
    monkeypatch.setattr(engine, "keep", refuse)
    async with serve(engine=engine) as worker:
        await worker.service.loading.wait()
        async with worker.http.post("/v1/sleep") as response:
            assert response.status == 204
        await until(lambda: worker.stops == [True])
    said = capsys.readouterr().err
    assert "slots.not_kept error=ValueError" in said
    assert "what somebody asked" not in said


async def test_one_that_is_stopped_while_it_loads_has_not_failed(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(on_progress: Callable[[float], bool]) -> FakeModel:
        begun.set()
        go_on.wait(20)
        return FakeModel()

    async with serve(engine=engine_on(slowly)) as worker:
        await asyncio.to_thread(begun.wait, 20)
        await worker.service.finish(30.0)
        go_on.set()
        await worker.service.loading.finished()
        await until(lambda: not worker.service._tasks)
        assert worker.service.exit_code == 0
        assert worker.stops == []
    assert "model.load_failed" not in capsys.readouterr().err
