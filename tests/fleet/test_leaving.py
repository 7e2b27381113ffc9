"""A pool's service is stopped, its host switched off: its jobs are elsewhere before that. A restart moves nothing."""

import pytest

from rbee.wire.events import End, Metrics
from tests.fleet.house import House
from tests.fleet.moving import at_full_speed, other, ready_workers, slow_story, states, went_on, where
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab
from tests.systemd.sleeping import inhibitors

POOL = "rbee-pool.service"


@pytest.fixture(autouse=True)
def workers(fleet: House) -> None:
    ready_workers(fleet)


def is_back(house: House, pool: str) -> None:
    wait_for(lambda: states(house)[pool] == "ready", f"{pool} to take work", 40)


def why(house: House, pool: str) -> str:
    said: str = house.rbee_json("pool", "status", pool)["why"]
    return said


def leavings(lab: Lab) -> int:
    """Return how often it has left since it was switched on; registering it did that, too."""
    return lab.host.journal("-u", POOL, "-b").count("pool.leaving")


def test_a_restart_moves_nothing_and_touches_no_worker(fleet: House, text: str) -> None:
    with slow_story(fleet) as (story, pool):
        lab = fleet.lab(pool)
        worker, left = lab.hive_json("worker", "list")[0]["pid"], leavings(lab)
        for how in (["restart"], ["try-restart"], ["kill", "-s", "KILL"], ["kill", "-s", "TERM"]):
            before = lab.pid(POOL)
            lab.systemctl(*how, POOL)
            wait_for(lambda: lab.pid(POOL) != before, "the old one to be gone", 20)  # noqa: B023
            lab.hive("status", "--http")  # after a kill without an error its socket starts it again
            wait_for(lambda: lab.pid(POOL) not in (0, before), "another pool-managerd", 20)  # noqa: B023
        at_full_speed(fleet, pool)
        assert isinstance(story.finish(), End)
    assert (where(fleet, story), story.text) == (pool, text)
    assert not [event for _, event in story.seen if isinstance(event, Metrics) and event.resumed_on]
    assert lab.hive_json("worker", "list")[0]["pid"] == worker
    assert leavings(lab) == left
    is_back(fleet, pool)


def test_a_service_that_is_stopped_hands_its_jobs_over_and_stays_stopped(fleet: House, text: str) -> None:
    with slow_story(fleet) as (story, pool):
        fleet.lab(pool).systemctl("stop", POOL)
        assert why(fleet, pool) in ("rbee-pool.service is being stopped", "rbee-pool.service was stopped")
        went_on(fleet, story, text, at=other(pool))
    at_full_speed(fleet, pool)
    wait_for(lambda: states(fleet)[pool] == "lost", f"{pool} to be silent", 20)
    assert why(fleet, pool) == "rbee-pool.service was stopped"
    assert "rbee-pool.service was stopped" in fleet.rbee("pool", "list").stdout
    assert fleet.lab(pool).show(POOL, "ActiveState") == "inactive"
    assert (
        f"pool {pool} is draining: rbee-pool.service is being stopped"
        in fleet.rbee("jobs", "explain", story.job).stdout
    )
    fleet.lab(pool).systemctl("start", POOL)
    is_back(fleet, pool)


@pytest.mark.parametrize("how", ["poweroff", "reboot"])
def test_a_host_that_is_switched_off_waits_until_its_jobs_have_moved(fleet: House, text: str, how: str) -> None:
    with slow_story(fleet) as (story, pool):
        host, lab = fleet.hosts[pool], fleet.lab(pool)
        wait_for(lambda: inhibitors(lab.host) == {"shutdown", "sleep"}, "the locks", 20)
        boots = host.boots
        host.run(["systemctl", how], check=False)
        went_on(fleet, story, text, at=other(pool))
    if how == "reboot":
        host.await_boot(boots + 1)
    else:
        wait_for(lambda: not host.up, f"{pool} to be off", 40)
        wait_for(lambda: why(fleet, pool) == "its host was shut down", "the queen to miss it", 20)
        host.boot()
    left = host.journal("-b", "-1", "-o", "cat", "--grep", "^pool.left")
    assert "reason=shutdown busy=0" in left
    lab.hive("status", "--http")  # nothing starts there before somebody asks
    is_back(fleet, pool)


def test_a_host_without_logind_lets_its_jobs_move_as_well(fleet: House, text: str) -> None:
    with slow_story(fleet) as (story, pool):
        host, lab = fleet.hosts[pool], fleet.lab(pool)
        lab.systemctl("mask", "--runtime", "systemd-logind.service", "dbus-org.freedesktop.login1.service")
        lab.systemctl("stop", "systemd-logind.service")
        lab.systemctl("restart", POOL)
        wait_for(lambda: "logind.no_lock" in host.journal("-u", POOL, "-b"), "it to say so", 20)
        host.power_off()
        went_on(fleet, story, text, at=other(pool))
    host.boot()
    assert "reason=shutdown" in host.journal("-b", "-1", "-o", "cat", "--grep", "^pool.left")
    lab.hive("status", "--http")
    is_back(fleet, pool)


def test_what_the_operator_drained_is_drained_after_a_boot_as_well(fleet: House) -> None:
    host, lab = fleet.hosts["mac"], fleet.lab("mac")
    lab.hive("drain")
    host.reboot()
    assert lab.hive_json("status", "--http")["drain_reason"] == "operator"
    assert "its operator said so" in lab.hive("status").stdout
    lab.hive("undrain")
    assert lab.hive_json("status")["drain_reason"] is None
    is_back(fleet, "mac")


def test_the_lock_is_taken_again_from_a_logind_that_was_away(fleet: House) -> None:
    lab = fleet.lab("mac")
    lab.hive("status", "--http")
    wait_for(lambda: inhibitors(lab.host) == {"shutdown", "sleep"}, "the locks", 20)
    lab.systemctl("stop", "systemd-logind.service")
    lab.systemctl("start", "systemd-logind.service")
    wait_for(lambda: inhibitors(lab.host) == {"shutdown", "sleep"}, "the locks", 20)
    lab.systemctl("stop", POOL)
    wait_for(lambda: inhibitors(lab.host) == set(), "logind to have its locks back", 10)
    lab.systemctl("start", POOL)
