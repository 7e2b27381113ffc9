"""Between the event loop and the thread that computes: neither waits for the other, and nobody is left waiting."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from rbee.errors import RbeeError, ShuttingDown
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.ports import Interrupted
from rbee.wire.events import End, JobEvent, StopReason, last
from tests.rig.waiting import PATIENCE
from tests.unit.llm_worker.asking import all_of, end, request, run, text, told, until
from tests.unit.llm_worker.fakes import FakeModel, Panic, loaded

Make = Callable[..., ModelEngine]


async def test_the_loop_does_not_wait_for_what_is_done_between_steps(engine_of: Make) -> None:
    engine = engine_of()
    prompt = engine.prepare(request())
    begun, submitted = threading.Event(), threading.Event()
    seen: list[bool] = []

    def errand() -> None:
        begun.set()
        seen.append(submitted.wait(5 * PATIENCE))

    doing = asyncio.ensure_future(asyncio.to_thread(engine._desk.between_steps, errand))
    await asyncio.to_thread(begun.wait, 20)
    events = told(engine, "a", prompt)
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    submitted.set()
    await doing
    await first
    assert seen == [True]
    assert end(await all_of(events)).tokens_out == 16


async def test_what_fails_between_steps_fails_who_wanted_it_and_nobody_else(engine_of: Make) -> None:
    engine = engine_of()

    def errand() -> None:
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="on fire"):
        await asyncio.to_thread(engine._desk.between_steps, errand)
    assert text(await run(engine))


async def test_what_ends_the_thread_between_steps_is_told_to_who_wanted_it() -> None:
    engine = loaded(FakeModel())
    died: list[RbeeError] = []
    engine.watch(died.append)

    def errand() -> None:
        raise Panic("inside")

    with pytest.raises(Panic):
        await asyncio.wait_for(asyncio.to_thread(engine._desk.between_steps, errand), 10)
    await until(lambda: len(died) == 1)
    engine.close()


async def test_who_wants_something_between_steps_does_not_wait_for_a_thread_that_goes_home() -> None:
    model = FakeModel()
    engine = loaded(model)
    model.made.hangs.set()
    running = asyncio.ensure_future(run(engine))
    await asyncio.to_thread(model.made.entered.wait, 20)
    done: list[str] = []
    waiting = asyncio.ensure_future(asyncio.to_thread(engine._desk.between_steps, lambda: done.append("it")))
    await until(lambda: bool(engine._desk._errands))
    closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
    await until(lambda: engine._desk.closing)
    model.made.let_go.set()
    async with asyncio.timeout(10):
        await waiting
    await asyncio.gather(running, closing)
    assert done == []


async def test_one_that_comes_after_the_end_is_refused(engine_of: Make) -> None:
    engine = engine_of()
    prompt = engine.prepare(request())
    engine.close()
    with pytest.raises(ShuttingDown, match="on its way out"):
        async with asyncio.timeout(10):
            await all_of(told(engine, "a", prompt))
    with pytest.raises(ShuttingDown):
        engine.prepare(request())


async def test_all_hear_of_the_end_in_the_loop_whoever_closes() -> None:
    model = FakeModel()
    engine = loaded(model)
    model.made.hangs.set()
    prompt = engine.prepare(request())
    threads: set[int] = set()
    over = {"runs": asyncio.Event(), "waits": asyncio.Event()}
    ends: list[JobEvent] = []

    def ask(job: str) -> None:
        def tell(events: Sequence[JobEvent]) -> None:
            threads.add(threading.get_ident())
            if last(events[-1]):
                ends.append(events[-1])
                over[job].set()

        engine.submit(job, prompt, tell)

    ask("runs")
    await asyncio.to_thread(model.made.entered.wait, 20)
    ask("waits")
    closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
    async with asyncio.timeout(10):
        await over["waits"].wait()
        model.made.let_go.set()
        await over["runs"].wait()
    await closing
    assert threads == {threading.get_ident()}
    assert [each.stop_reason for each in ends if isinstance(each, End)] == [StopReason.CANCELLED] * 2


async def test_what_was_broken_off_for_one_is_not_broken_off_for_the_next(
    engine_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of()
    context = engine._context
    broken: list[Interrupted] = []
    go = threading.Event()
    step = context.step  # type: ignore[union-attr]

    def counted() -> None:
        try:
            step()
        except Interrupted as error:
            broken.append(error)
            raise
        finally:
            go.wait()

    monkeypatch.setattr(context, "step", counted)
    events = told(engine, "a", engine.prepare(request(max_tokens=400)))
    await anext(events)
    engine.hold("a", True)
    go.set()
    await until(lambda: engine.activity[0].paused)  # no step runs that could be broken off
    engine.cancel("a")
    assert end(await all_of(events)).stop_reason is StopReason.CANCELLED
    assert end(await run(engine, "b")).tokens_out == 16
    assert broken == []
