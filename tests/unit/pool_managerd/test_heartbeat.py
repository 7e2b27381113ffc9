import asyncio

import pytest

from rbee.errors import Conflict, PoolUnreachable, RbeeError
from rbee.pool_managerd.heartbeat import Heartbeat
from rbee.wire.pools import HostResources, PoolSnapshot

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
        await asyncio.wait_for(queen.came.get(), 5)
        heartbeat.changed()
        await asyncio.sleep(0)
    await asyncio.wait_for(queen.came.get(), 5)
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
