"""How an engine ends: while it loads, while it is asked, or because its thread dies."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rbee.errors import RbeeError, ShuttingDown, WorkerLost
from rbee.llm_worker import model_engine
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.worker import make_engine
from rbee.wire.events import Failure
from tests.unit.llm_worker.asking import request, run, until
from tests.unit.llm_worker.conftest import options
from tests.unit.llm_worker.fakes import FakeModel, Panic, engine_on, loaded


def test_a_load_can_be_given_up(tiny: Path) -> None:
    engine = make_engine(options(tiny))
    with pytest.raises(ShuttingDown, match="worker-cpu-0 was told to end while it was loading tiny"):
        engine.load(lambda _: engine.close())


async def test_a_thread_that_dies_leaves_nobody_waiting() -> None:
    model = FakeModel()
    engine = loaded(model)
    died: list[RbeeError] = []
    engine.watch(died.append)
    model.made.hangs.set()
    model.made.panics = Panic("what somebody asked")
    running = asyncio.ensure_future(run(engine, "runs"))
    await asyncio.to_thread(model.made.entered.wait, 20)
    waiting = asyncio.ensure_future(run(engine, "waits"))
    await until(lambda: "waits" in engine._desk._known)
    model.made.let_go.set()
    async with asyncio.timeout(10):
        ends = [events[-1] for events in await asyncio.gather(running, waiting)]
    assert {end.code for end in ends if isinstance(end, Failure)} == {"worker_lost"}
    assert len(ends) == 2
    await until(lambda: len(died) == 1)
    assert engine.slots_busy == 0
    with pytest.raises(WorkerLost, match="the thread of w that computes has ended"):
        await run(engine, "late")
    engine.close()


def test_one_that_is_closed_as_its_model_is_there_frees_it_and_says_so() -> None:
    model = FakeModel()
    engines: list[ModelEngine] = []

    def load(on_progress: Callable[[float], bool]) -> FakeModel:
        on_progress(1.0)
        engines[0].close()  # after the last look at whether to go on
        return model

    engines.append(engine_on(load))
    with pytest.raises(ShuttingDown, match="w was told to end while it was loading fake"):
        engines[0].load(lambda _: None)
    assert model.closed == 1
    engines[0].close()
    assert model.closed == 1


async def test_a_model_is_not_freed_while_a_prompt_is_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_engine, "_JOIN_S", 30.0)
    model = FakeModel()
    engine = loaded(model)
    begun, go_on, order = threading.Event(), threading.Event(), list[str]()

    def tokenize(text: str, *, special: bool) -> list[int]:
        begun.set()
        go_on.wait(20)
        order.append("read")
        return [2]

    model.tokenize = tokenize  # type: ignore[method-assign]
    model.close = lambda: order.append("freed")  # type: ignore[method-assign]
    preparing = asyncio.ensure_future(asyncio.to_thread(engine.prepare, request()))
    await asyncio.to_thread(begun.wait, 20)
    closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
    await until(lambda: engine._closing and not engine._thread.is_alive())  # type: ignore[union-attr]
    go_on.set()
    await asyncio.gather(preparing, closing)
    assert order == ["read", "freed"]
