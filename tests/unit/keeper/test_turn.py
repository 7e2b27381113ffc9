"""What a rollout takes for a host that is back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from rbee.adapters.process import Completed
from rbee.adapters.ssh import Remote
from rbee.keeper import registering
from rbee.keeper.turn import is_up
from rbee.wire.draining import DrainReason
from rbee.wire.pools import PoolState
from tests.unit.keeper.conftest import House
from tests.unit.queen.conftest import soon


@dataclass(frozen=True, kw_only=True)
class Told(Remote):
    """A FAKE host: what its logind and its systemd say."""

    name: str = "mac"
    target: str = "mac"
    goes_down: str = "b false\n"
    state: str = "running\n"

    async def run(self, argv: Sequence[str], **_: Any) -> Completed:
        return Completed(tuple(argv), 0, self.goes_down if argv[0] == "busctl" else self.state, "")


@pytest.mark.parametrize(
    ("host", "up"),
    [
        (Told(), True),
        (Told(state="degraded\n"), True),
        (Told(goes_down=""), True),  # no logind
        (Told(goes_down="b true\n"), False),
        (Told(state="stopping\n"), False),
    ],
)
async def test_a_host_that_is_on_its_way_down_is_not_back(host: Remote, up: bool) -> None:
    assert await is_up(host) is up


async def test_a_pool_whose_daemon_said_goodbye_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    get_pool = house.queen.client.get_pool

    async def counted(pool: str) -> Any:
        nonlocal asked
        asked += 1
        return await get_pool(pool)

    monkeypatch.setattr(registering, "_LOOK_S", 0.01)
    monkeypatch.setattr(house.queen.client, "get_pool", counted)
    house.pool.draining, house.pool.drain_reason = True, DrainReason.STOP
    await house.queen.say(house.pool)
    appearing = asyncio.create_task(registering._appeared(house.queen.client, "blep", "blep"))
    await soon(lambda: asked > 2 or appearing.done())
    assert not appearing.done()
    house.pool.draining, house.pool.drain_reason = False, None
    await house.queen.say(house.pool)
    assert (await appearing).state is PoolState.READY
