"""Every session ends with an event, whatever becomes of it."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rbee.llm_worker import sessions as limits
from rbee.llm_worker.engine import Prompt
from rbee.llm_worker.loading import Loading
from rbee.llm_worker.metrics import WorkerMetrics
from rbee.llm_worker.sessions import Sessions
from rbee.wire.events import End, Failure, StopReason
from rbee.wire.inference import InferenceRequest
from tests.unit.llm_worker.fakes import FakeModel, Panic, engine_on


@contextlib.asynccontextmanager
async def opened(model: FakeModel | None = None) -> AsyncIterator[Sessions]:
    engine, loading = engine_on((model or FakeModel()).loader), Loading("fake")
    await loading.run(engine.load)
    yield Sessions(engine=engine, loading=loading, metrics=WorkerMetrics(), used=lambda: None)
    engine.close()


def request(job: str, **wanted: Any) -> InferenceRequest:
    return InferenceRequest(id=job, prompt="hello", detach_s=60, **wanted)


async def test_one_that_is_cancelled_before_it_could_do_anything_ends() -> None:
    async with opened() as sessions:
        session = sessions.open(request("a"))
        sessions.cancel("a")
        events = [event async for _, event in session.read()]
        assert [type(event) for event in events] == [End]
        assert isinstance(events[-1], End)
        assert events[-1].stop_reason is StopReason.CANCELLED
        await sessions.quiet()


async def test_an_id_may_be_used_again_while_its_predecessor_is_put_away() -> None:
    async with opened() as sessions:
        for _ in range(50):
            session = sessions.open(request("a", max_tokens=2))
            events = [event async for _, event in session.read()]
            assert isinstance(events[-1], End)
            assert events[-1].tokens_out == 2
        await sessions.quiet()
        assert sessions.live == 0


async def test_each_moment_at_which_one_is_cancelled_ends_it() -> None:
    async with opened() as sessions:
        for turns in range(40):
            session = sessions.open(request(f"job-{turns}", max_tokens=1000))
            for _ in range(turns):
                await asyncio.sleep(0)
            sessions.cancel(session.job)
            events = [event async for _, event in session.read()]
            assert isinstance(events[-1], End), events
        await sessions.quiet()


@pytest.mark.parametrize("kind", [ValueError, Panic])
async def test_one_that_fails_inside_ends_and_nobody_reads_in_the_log_what_was_asked(
    kind: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def tokenize(text: str, *, special: bool) -> list[int]:
        raise kind(text)

    model = FakeModel()
    model.tokenize = tokenize  # type: ignore[method-assign]
    async with opened(model) as sessions:
        session = sessions.open(request("a"))
        (event,) = [event async for _, event in session.read()]
        assert isinstance(event, Failure)
        assert (event.code, event.message) == ("internal", "the worker failed inside")
        await sessions.quiet()
    said = capsys.readouterr().err
    assert f"session.failed job=a error={kind.__name__}" in said
    assert "test_sessions.py:" in said
    assert "hello" not in said


async def told(sessions: Sessions, job: str, *, returns: bool = True, quiet: bool = True, **wanted: Any) -> None:
    """Let ``job`` end, and with ``quiet`` all others."""
    session = sessions.open(request(job, **wanted), returns=returns)
    assert isinstance([event async for _, event in session.read()][-1], End)
    if quiet:
        await sessions.quiet()


async def test_likelihoods_count_among_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_BYTES", 80_000)
    async with opened() as sessions:
        await told(sessions, "a", max_tokens=200)
        assert set(sessions._all) == {"a"}
        await told(sessions, "b", max_tokens=200, logprobs=1)
        assert not sessions._all  # what is too large alone goes at once, and not when the next one comes


async def test_one_that_nobody_comes_back_to_is_forgotten_at_its_end() -> None:
    async with opened() as sessions:
        await told(sessions, "a", returns=False, max_tokens=2)
        await told(sessions, "b", max_tokens=2)
        assert set(sessions._all) == {"b"}


async def test_who_asks_without_a_schema_does_not_wait_for_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as sessions:
        prepare, go_on, tried = sessions.engine.prepare, threading.Event(), []

        def slowly(asked: InferenceRequest) -> Prompt:
            if asked.schema is not None:
                tried.append(asked.id)
                go_on.wait(20)
            return prepare(dataclasses.replace(asked, schema=None))

        monkeypatch.setattr(sessions.engine, "prepare", slowly)
        shaped = [sessions.open(request(f"s{n}", schema={"const": n}, max_tokens=2)) for n in range(30)]
        await told(sessions, "plain", quiet=False, max_tokens=2)
        for session in shaped[10:]:
            sessions.cancel(session.job)
            assert [type(event) async for _, event in session.read()] == [End]  # and nothing is begun for it any more
        go_on.set()
        await sessions.quiet()
        assert sorted(tried) == sorted(f"s{n}" for n in range(10))
