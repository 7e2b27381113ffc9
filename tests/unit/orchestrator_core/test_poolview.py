"""Whom to ask how he is, and whom to leave in peace."""

import dataclasses

import pytest

from rbee.orchestrator_core.poolview import PoolView
from rbee.wire.draining import DrainReason
from rbee.wire.pools import PoolState
from tests.unit.orchestrator_core.snapshots import snapshot


@pytest.mark.parametrize(
    ("reason", "state", "stays_away"),
    [
        (None, PoolState.LOST, False),
        (DrainReason.OPERATOR, PoolState.DRAINING, False),
        (DrainReason.GPU_CHECK, PoolState.DRAINING, False),
        (DrainReason.STOP, PoolState.DRAINING, True),
        (DrainReason.STOP, PoolState.LOST, True),
        (DrainReason.SHUTDOWN, PoolState.DRAINING, True),
        (DrainReason.SHUTDOWN, PoolState.LOST, False),
        (DrainReason.SLEEP, PoolState.DRAINING, True),
        (DrainReason.SLEEP, PoolState.LOST, False),
    ],
)
def test_a_host_that_went_may_be_back_but_a_service_that_was_stopped_is_not_started(
    reason: DrainReason | None, state: PoolState, stays_away: bool
) -> None:
    told = dataclasses.replace(snapshot(), draining=reason is not None, drain_reason=reason)
    assert PoolView(id="blep", state=state, url="http://blep:9200", snapshot=told).stays_away is stays_away
