"""When the daemon syncs again by itself: after a worker that failed, a bug, a broker of before an upgrade."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

import pytest

from rbee.errors import InvalidRequest, RbeeError
from rbee.pool_core import unit
from rbee.pool_core.declared import Declaration
from rbee.pool_core.ports import UnitFacts, WorkerPlan
from rbee.pool_managerd import syncing
from rbee.pool_managerd.syncing import Syncing
from rbee.wire.workers import Backend, WorkerShape, WorkerSpec
from tests.fakes.pool import ASLEEP, FakePool, FakeUnits

CHAT = Declaration(workers={"chat": WorkerShape(backend=Backend.CPU, model="tiny")})


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "AGAIN_S", 0.02)


@contextlib.asynccontextmanager
async def running(
    pool: FakePool, declaration: Declaration = CHAT, changed: Callable[[], None] = lambda: None
) -> AsyncIterator[Syncing]:
    """A pool where the declared worker is up and nothing is left to do."""
    pool.declaration = declaration
    found = Syncing(lambda: pool.service, changed)
    task = asyncio.create_task(found.run())
    try:
        yield found
        assert not task.done(), "the sync has ended"
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def fail(pool: FakePool, worker: str = "chat") -> None:
    """Let it be as systemd leaves one that crashed too often."""
    there = pool.units.workers[worker]
    hit = {"service_state": "failed", "socket_state": "failed", "result": "start-limit-hit", "pid": None}
    pool.units.workers[worker] = dataclasses.replace(there, **hit)  # type: ignore[arg-type]


def is_up(pool: FakePool) -> bool:
    return "chat" in pool.units.workers and pool.units.workers["chat"].service_state == "active"


def is_idle(found: Syncing) -> bool:
    return found._now is not None and found._now.done() and not found._stirred.is_set()


async def test_a_worker_that_failed_is_made_anew_each_time_after_a_longer_pause() -> None:
    pool = FakePool()
    async with running(pool) as found:
        loop, took_s = asyncio.get_running_loop(), []
        for _ in range(3):
            await until(lambda: is_up(pool) and is_idle(found))
            fail(pool)
            began_s = loop.time()
            for _ in range(3):  # systemd tells of its service, then of its socket
                found.worker_changed()
                await asyncio.sleep(0)
            await until(lambda: is_up(pool))
            took_s.append(loop.time() - began_s)
    assert [took >= least for took, least in zip(took_s, (0.02, 0.04, 0.08), strict=True)] == [True] * 3


async def test_status_tells_of_a_worker_that_failed_and_when_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "AGAIN_S", 30.0)
    pool = FakePool()
    async with running(pool) as found:
        await until(lambda: is_up(pool) and is_idle(found))
        fail(pool)
        found.worker_changed()
        await until(lambda: found.line == "chat failed: made anew within 30 s")
        assert not is_up(pool)


async def test_after_a_calm_time_the_pause_is_short_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Syncing(lambda: FakePool().service, lambda: None)
    assert [found._before_anew() for _ in range(3)] == [0.02, 0.04, 0.08]
    monkeypatch.setattr(syncing, "CALM_S", -1.0)
    assert found._before_anew() == 0.02


async def test_who_fell_asleep_was_stopped_or_is_a_persons_own_is_let_be() -> None:
    pool = FakePool()
    async with running(pool) as found:
        await until(lambda: is_up(pool) and is_idle(found))
        theirs = WorkerPlan(id="mine", backend="cpu", model="tiny", model_paths=("/models/tiny.gguf",),
                            address="127.0.0.1:8003", ctx=512, slots=1, idle_s=60, memory_bytes=1)  # fmt: skip
        await pool.units.create(theirs)
        fail(pool, "mine")
        await pool.units.stop("chat")
        found.worker_changed()
        await asyncio.sleep(0.2)
        assert (set(pool.units.workers), found.line) == ({"mine"}, "")


async def test_who_is_waited_for_and_falls_asleep_while_the_sync_goes_on_is_made_anew() -> None:
    """The sync has seen it awake, its last look sees it asleep: nothing else comes to tell of it."""
    pool = FakePool()
    async for _ in pool.service.spawn_worker(WorkerSpec(id="chat", backend=Backend.CPU, model="tiny")):
        pass

    def is_ours() -> bool:
        return unit.plan_from_argv(pool.units.workers["chat"].argv).declared

    def fall_asleep() -> None:
        while_it_went_on.append(is_ours())
        pool.units.workers["chat"] = dataclasses.replace(pool.units.workers["chat"], **ASLEEP)  # type: ignore[arg-type]
        found.worker_changed()

    while_it_went_on: list[bool] = []
    both = Declaration(workers=dict.fromkeys(("chat", "embed"), CHAT.workers["chat"]))
    async with running(pool, both, fall_asleep) as found:
        await until(lambda: "chat" in pool.units.workers and is_ours())
    assert while_it_went_on[0] is False, "it was to be waited for"


async def test_a_download_that_fails_is_not_tried_at_once_for_a_worker_of_its_name_that_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syncing, "AGAIN_S", 30.0)
    pool = FakePool()
    pool.models.hub = set()
    async for _ in pool.service.spawn_worker(WorkerSpec(id="chat", backend=Backend.CPU, model="tiny")):
        pass
    async with running(pool, dataclasses.replace(CHAT, models=("chat",))) as found:
        await until(lambda: is_idle(found))
        first = found._now
        found.worker_changed()
        await asyncio.sleep(0.1)
        assert found._now is first


class Buggy(FakeUnits):
    """Breaks when it is asked what is there."""

    broken = False

    async def list(self) -> tuple[UnitFacts, ...]:
        if self.broken:
            raise KeyError("a bug")
        return await super().list()


async def test_a_bug_in_a_look_between_two_syncs_does_not_end_them(capsys: pytest.CaptureFixture[str]) -> None:
    units = Buggy()
    pool = FakePool(units=units)
    async with running(pool) as found:
        await until(lambda: is_up(pool) and is_idle(found))
        units.broken, found._unfinished = True, True
        found.worker_changed()
        await until(lambda: is_idle(found))
        await asyncio.sleep(0.05)
        units.broken = False
        await pool.units.stop("chat")
        found.again()
        await until(lambda: is_up(pool))
    assert "sync.unseen" in capsys.readouterr().err


class Older(FakeUnits):
    """Behind a broker that does not know a field yet, for so many times."""

    times = 2
    source = "broker"

    async def create(self, plan: WorkerPlan) -> None:
        self.times -= 1
        if self.times >= 0:
            raise InvalidRequest("plan.declared: is not known", source=self.source)
        await super().create(plan)


async def test_what_a_broker_of_before_an_upgrade_refuses_is_tried_again() -> None:
    pool = FakePool(units=Older())
    async with running(pool):
        await until(lambda: is_up(pool))


async def test_what_is_wrong_by_itself_is_not_tried_again() -> None:
    units = Older()
    units.source = ""
    pool = FakePool(units=units)
    async with running(pool) as found:
        await until(lambda: found.line.startswith("1 declaration not met"))
        await asyncio.sleep(0.2)
        assert units.times == 1


@pytest.mark.parametrize(
    ("error", "vain"),
    [(InvalidRequest("x"), True), (InvalidRequest("x", source="broker"), False), (RbeeError("x"), False)],
)
def test_what_is_in_vain(error: RbeeError, vain: bool) -> None:
    assert syncing._is_in_vain(error) is vain
