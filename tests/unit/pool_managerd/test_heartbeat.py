import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

import pytest

from rbee.errors import Conflict, PoolUnreachable, RbeeError
from rbee.pool_managerd.heartbeat import STUCK_S, Heartbeat
from rbee.wire.pools import HostResources, PoolSnapshot
from tests.rig.waiting import PATIENCE

SNAPSHOT = PoolSnapshot(
    id="blep",
    instance="i" * 32,
    url="http://127.0.0.1:9200",
    version="0",
    at_ms=0,
    host=HostResources(cpus=1, memory_total_bytes=1, memory_available_bytes=1, disk_free_bytes=1),
)


class Queen:
    """Takes snapshots; ``fault`` is raised instead while it is set. Lets a test wait for the next one."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[PoolSnapshot] = asyncio.Queue()
        self.fault: RbeeError | None = None

    async def take(self, snapshot: PoolSnapshot) -> None:
        await self.came.put(snapshot)
        if self.fault is not None:
            raise self.fault


async def look() -> PoolSnapshot:
    return SNAPSHOT


async def beating(heartbeat: Heartbeat, queen: Queen, times: int) -> None:
    task = asyncio.create_task(heartbeat.run())
    for _ in range(times):
        await asyncio.wait_for(queen.came.get(), 5 * PATIENCE)
        heartbeat.changed()
        await asyncio.sleep(0)
    await asyncio.wait_for(queen.came.get(), 5 * PATIENCE)
    task.cancel()
    await asyncio.wait({task})


async def test_a_change_is_told_at_once() -> None:
    queen = Queen()
    heartbeat = Heartbeat(look, queen.take, interval_s=3600)
    await beating(heartbeat, queen, 3)
    assert heartbeat.trouble is None


async def test_a_queen_that_is_away_is_logged_once_and_so_is_her_return(capsys: pytest.CaptureFixture[str]) -> None:
    queen = Queen()
    queen.fault = PoolUnreachable("queen cannot be reached")
    heartbeat = Heartbeat(look, queen.take, interval_s=0.01)
    await beating(heartbeat, queen, 4)
    assert heartbeat.trouble == "queen cannot be reached"
    assert capsys.readouterr().err.count("heartbeat.failed") == 1
    queen.fault = None
    await beating(heartbeat, queen, 2)
    assert heartbeat.trouble is None
    assert capsys.readouterr().err.count("queen.reached") == 1


async def test_another_host_with_our_name_is_said_in_the_status() -> None:
    queen = Queen()
    queen.fault = Conflict("pool blep belongs to another host")
    heartbeat = Heartbeat(look, queen.take, interval_s=0.01)
    await beating(heartbeat, queen, 1)
    assert heartbeat.trouble == "queen: pool blep belongs to another host"


async def test_a_host_that_cannot_be_looked_at_does_not_end_the_heartbeat(capsys: pytest.CaptureFixture[str]) -> None:
    queen = Queen()
    faults: list[Exception] = [ZeroDivisionError("a bug"), RbeeError("systemd does not answer")]
    seen: list[str | None] = []

    async def unsteady() -> PoolSnapshot:
        seen.append(heartbeat.trouble)
        if faults:
            heartbeat.changed()
            raise faults.pop(0)
        return SNAPSHOT

    heartbeat = Heartbeat(unsteady, queen.take, interval_s=3600)
    await beating(heartbeat, queen, 1)
    assert seen[:3] == [
        "queen not asked yet",
        "this host: ZeroDivisionError('a bug')",
        "this host: systemd does not answer",
    ]
    assert heartbeat.trouble is None
    assert capsys.readouterr().err.count("heartbeat.failed") == 2


async def test_a_beat_that_hangs_is_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = asyncio.Event()

    async def hang() -> PoolSnapshot:
        looking.set()
        return await asyncio.Future[PoolSnapshot]()

    heartbeat = Heartbeat(hang, Queen().take, interval_s=1)
    task = asyncio.create_task(heartbeat.run())
    await asyncio.wait_for(looking.wait(), 5 * PATIENCE)
    assert heartbeat.standstill() is None
    later_s = time.monotonic() + STUCK_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert re.fullmatch(r"a heartbeat has taken 6\d s", heartbeat.standstill() or "")
    monkeypatch.undo()
    task.cancel()
    await asyncio.wait({task})


@contextlib.asynccontextmanager
async def running(heartbeat: Heartbeat) -> AsyncIterator[None]:
    task = asyncio.create_task(heartbeat.run())
    yield
    task.cancel()
    await asyncio.wait({task})


async def test_who_tells_waits_for_a_beat_that_looked_after_the_change() -> None:
    seen: list[str] = []
    looking, go_on = asyncio.Event(), asyncio.Event()
    value = "before"

    async def slow() -> PoolSnapshot:
        found = value
        looking.set()
        await go_on.wait()
        seen.append(found)
        return SNAPSHOT

    heartbeat = Heartbeat(slow, Queen().take, interval_s=3600)
    async with running(heartbeat):
        await asyncio.wait_for(looking.wait(), 5 * PATIENCE)
        value = "after"
        telling = asyncio.create_task(heartbeat.tell(5 * PATIENCE))
        go_on.set()
        await asyncio.wait_for(telling, 5 * PATIENCE)
    assert seen == ["before", "after"]


async def test_nobody_waits_for_a_queen_that_is_away_or_slow() -> None:
    queen = Queen()
    queen.fault = PoolUnreachable("queen cannot be reached")
    away = Heartbeat(look, queen.take, interval_s=3600)
    async with running(away):
        async with asyncio.timeout(5 * PATIENCE):
            await away.tell(3600)
            await away.tell(3600)

    async def never(snapshot: PoolSnapshot) -> None:
        await asyncio.Future[None]()

    slow = Heartbeat(look, never, interval_s=3600)
    async with running(slow):
        began_s = time.monotonic()
        await slow.tell(0.05)
    assert 0.05 <= time.monotonic() - began_s < 5 * PATIENCE
