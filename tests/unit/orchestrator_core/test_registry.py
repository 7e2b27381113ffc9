"""What is known of pools, and for how long it holds."""

import dataclasses

import pytest

from rbee.errors import Conflict, NotFound
from rbee.orchestrator_core.registry import Claim, Registry, status_of, workers_of
from rbee.wire import codec
from rbee.wire.draining import DrainReason
from rbee.wire.pools import PoolSnapshot, PoolState
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


@pytest.mark.parametrize(
    ("reason", "now", "later"),
    [
        (DrainReason.SHUTDOWN, "draining: its host is shutting down", "lost: its host was shut down"),
        (DrainReason.STOP, "draining: rbee-pool.service is being stopped", "lost: rbee-pool.service was stopped"),
        (DrainReason.SLEEP, "draining: its host is going to sleep", "lost: its host went to sleep"),
        (DrainReason.GPU_CHECK, "draining: its host woke up, and its GPUs are being checked", "lost"),
        (DrainReason.OPERATOR, "draining: its operator said so", "lost"),
        (None, "draining: its operator said so", "lost"),
    ],
)
def test_why_a_pool_takes_no_work_and_later_why_it_is_silent(reason: DrainReason | None, now: str, later: str) -> None:
    known = registry(snapshot(draining=True, drain_reason=reason))
    assert known.find("blep", 0.0).condition == now
    assert known.find("blep", 7.0).condition == later


def test_a_pool_that_takes_work_gives_no_reason_and_neither_does_one_that_is_lost() -> None:
    known = registry(snapshot())
    assert (known.find("blep", 0.0).condition, known.find("blep", 7.0).condition) == ("ready", "lost")
    assert (status_of(known.find("blep", 0.0)).why, status_of(known.find("blep", 0.0)).drain_reason) == ("", None)


def test_what_befalls_the_host_is_told_before_what_the_operator_wants() -> None:
    known = registry(snapshot(draining=True, drain_reason=DrainReason.SLEEP))
    known.register(dataclasses.replace(CLAIM, draining=True))
    assert known.find("blep", 0.0).drain_reason is DrainReason.SLEEP
    known.heartbeat(snapshot(), 1.0)
    assert known.find("blep", 1.0).drain_reason is DrainReason.OPERATOR


def test_another_reason_is_news() -> None:
    known = registry(snapshot(draining=True, drain_reason=DrainReason.OPERATOR))
    assert not known.heartbeat(snapshot(draining=True, drain_reason=DrainReason.OPERATOR), 1.0)
    assert known.heartbeat(snapshot(draining=True, drain_reason=DrainReason.SHUTDOWN), 2.0)


def test_a_pool_of_before_that_gives_no_reason_is_understood() -> None:
    told = codec.plain(snapshot(draining=True))
    del told["drain_reason"]
    assert codec.from_dict(PoolSnapshot, told) == dataclasses.replace(snapshot(draining=True), drain_reason=None)
