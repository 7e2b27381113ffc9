"""Where a model that somebody wants should lie."""

import dataclasses

import pytest

from rbee.errors import NoCapacity
from rbee.orchestrator_core.homes import home_of
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.poolview import PoolView
from rbee.wire.pools import PoolState
from tests.unit.orchestrator_core.snapshots import snapshot


def pool(name: str, *, disk: int, models: tuple[str, ...] = (), state: PoolState = PoolState.READY) -> PoolView:
    told = snapshot(name, models=models)
    told = dataclasses.replace(told, host=dataclasses.replace(told.host, disk_free_bytes=disk))
    return PoolView(id=name, state=state, url="", snapshot=told)


def test_whoever_has_it_keeps_it() -> None:
    assert home_of("tiny", [pool("mac", disk=9), pool("blep", disk=1, models=("tiny",))], Names()) == "blep"


def test_else_it_goes_where_most_room_is() -> None:
    pools = [pool("mac", disk=1), pool("blep", disk=5), pool("gone", disk=9, state=PoolState.LOST)]
    assert home_of("tiny", pools, Names()) == "blep"


def test_where_no_pool_is_there_it_goes_nowhere() -> None:
    with pytest.raises(NoCapacity):
        home_of("tiny", [pool("blep", disk=5, state=PoolState.DRAINING)], Names())
