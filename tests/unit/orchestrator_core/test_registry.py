"""What is known of pools, and for how long it holds."""

import dataclasses

import pytest

from rbee.errors import Conflict, NotFound
from rbee.orchestrator_core.registry import Claim, Registry, status_of, workers_of
from rbee.wire import codec
from rbee.wire.pools import PoolState
from rbee.wire.workers import WorkerState
from tests.unit.orchestrator_core.snapshots import registry, snapshot, worker

CLAIM = Claim(id="blep", instance="instance-of-blep", url="http://blep:9200", version="0")


def test_a_pool_is_lost_when_it_has_been_silent_and_found_again_when_it_speaks() -> None:
    known = registry(snapshot())
    assert known.find("blep", 6.0).state is PoolState.READY
    assert known.find("blep", 6.1).state is PoolState.LOST
    assert known.heartbeat(snapshot(), 7.0)
    assert known.find("blep", 7.0).state is PoolState.READY


def test_a_pool_that_never_spoke_is_lost() -> None:
    known = Registry(lost_after_s=6.0)
    known.register(CLAIM)
    assert known.find("blep", 0.0).state is PoolState.LOST
    assert status_of(known.find("blep", 0.0)).last_heartbeat_ms is None


def test_an_id_belongs_to_the_instance_that_registered_it_until_it_is_removed() -> None:
    known = registry(snapshot())
    foreign = dataclasses.replace(CLAIM, instance="instance-1")
    with pytest.raises(Conflict, match="pool blep belongs to another host, which serves it at http://blep:9200"):
        known.claimed(foreign)
    known.remove("blep")
    assert known.claimed(foreign) == foreign
    with pytest.raises(NotFound):
        known.remove("blep")


def test_the_operators_drain_outlives_a_new_claim() -> None:
    known = registry(snapshot())
    known.register(dataclasses.replace(CLAIM, draining=True))
    moved = known.claimed(dataclasses.replace(CLAIM, url="http://elsewhere:9200"))
    assert (moved.draining, moved.url) == (True, "http://elsewhere:9200")
    assert known.find("blep", 0.0).state is PoolState.DRAINING


def test_a_pool_that_drains_itself_is_draining() -> None:
    assert registry(snapshot(draining=True)).find("blep", 0.0).state is PoolState.DRAINING


def test_secrets_are_kept_apart_from_all_that_is_shown() -> None:
    known = registry(snapshot("blep", worker()))
    assert known.secret("blep", "worker-cpu-0") == "secret of worker-cpu-0"
    view = known.find("blep", 0.0)
    assert "secret of" not in codec.dump_json(view) + codec.dump_json(status_of(view))
    assert known.secret("blep", "another") == known.secret("mac", "worker-cpu-0") == ""


def test_only_what_a_decision_hangs_on_is_news() -> None:
    known = registry(snapshot("blep", worker()))
    assert not known.heartbeat(snapshot("blep", worker(memory_current_bytes=5)), 1.0)
    assert known.heartbeat(snapshot("blep", worker(state=WorkerState.BUSY)), 2.0)
    assert known.heartbeat(snapshot("blep", worker(state=WorkerState.BUSY), models=("tiny", "other")), 3.0)


def test_a_doubted_worker_gets_nothing_until_its_pool_speaks_again() -> None:
    known = registry(snapshot("blep", worker(), worker(1)))
    known.doubt("blep", "worker-cpu-0")
    assert [each.state for each in known.find("blep", 0.0).workers] == [WorkerState.STARTING, WorkerState.READY]
    assert [each.state for _, each in known.fleet(0.0).workers("tiny")] == [WorkerState.STARTING, WorkerState.READY]
    known.heartbeat(snapshot("blep", worker()), 1.0)
    assert [each.state for each in known.find("blep", 1.0).workers] == [WorkerState.READY]


def test_workers_say_whose_they_are() -> None:
    assert [each.pool for each in workers_of(registry(snapshot("blep", worker())).find("blep", 0.0))] == ["blep"]


def test_a_lost_pools_workers_are_lost_and_not_what_they_were() -> None:
    known = registry(snapshot("blep", worker()))
    assert [each.state for each in workers_of(known.find("blep", 0.0))] == [worker().state]
    assert [each.state for each in workers_of(known.find("blep", 100.0))] == [WorkerState.LOST]
    assert [each.state for each in status_of(known.find("blep", 100.0)).workers] == [WorkerState.LOST]
