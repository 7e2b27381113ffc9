import asyncio
import threading
from collections.abc import Callable

import pytest

from rbee.errors import ModelLoadFailed, RbeeError
from rbee.llm_worker.loading import Loading
from rbee.wire.inference import LoadingEvent


async def test_watchers_see_it_rise_and_those_who_wait_go_on() -> None:
    loading, halfway, go_on = Loading("tiny"), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def load(on_progress: Callable[[float], None]) -> None:
        on_progress(0.5)
        loop.call_soon_threadsafe(halfway.set)
        go_on.wait()

    running = asyncio.ensure_future(loading.run(load))
    await halfway.wait()
    events = loading.events()
    assert await anext(events) == LoadingEvent(state="loading", progress=0.5)
    waiting = asyncio.ensure_future(loading.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    await running
    await waiting
    assert [event async for event in events] == [LoadingEvent(state="ready", progress=1.0)]
    assert loading.seconds >= 0


async def test_llamas_last_percent_is_not_ready() -> None:
    loading, loaded, go_on = Loading("tiny"), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def load(on_progress: Callable[[float], None]) -> None:
        on_progress(1.0)
        loop.call_soon_threadsafe(loaded.set)
        go_on.wait()

    running = asyncio.ensure_future(loading.run(load))
    await loaded.wait()
    assert loading.event() == LoadingEvent(state="loading", progress=0.99)
    go_on.set()
    await running


@pytest.mark.parametrize("error", [ModelLoadFailed("no model"), OSError("disk on fire")])
async def test_a_failure_reaches_all_who_wait(error: Exception) -> None:
    loading = Loading("tiny")

    def load(on_progress: Callable[[float], None]) -> None:
        raise error

    await loading.run(load)
    with pytest.raises(RbeeError, match=str(error)):
        await loading.wait()
    (event,) = [event async for event in loading.events()]
    assert event.state == "failed"
    assert str(error) in event.message
