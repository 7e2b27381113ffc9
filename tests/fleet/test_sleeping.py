"""A host goes to sleep with a job of ours, which goes on at another one; it works again when it has woken up."""

from rbee.wire.events import End
from tests.fleet.house import House
from tests.fleet.moving import LONG, at_full_speed, other, slow_story, states, went_on, where
from tests.rig.waiting import wait_for
from tests.systemd import sleeping
from tests.systemd.story import Story

POOL = "rbee-pool.service"


def test_a_host_that_goes_to_sleep_hands_its_jobs_over_and_works_again_when_it_wakes(fleet: House, text: str) -> None:
    with slow_story(fleet) as (story, pool):
        host, lab = fleet.hosts[pool], fleet.lab(pool)
        daemon, worker = lab.pid(POOL), lab.hive_json("worker", "list")[0]["pid"]
        sleeping.prepare(host)
        with sleeping.asleep(host):
            host.cut_link()
            try:
                went_on(fleet, story, text, at=other(pool))
                wait_for(lambda: states(fleet)[pool] == "lost", f"{pool} to be silent", 20)
                assert "its host went to sleep" in fleet.rbee("pool", "status", pool).stdout
            finally:
                host.restore_link()
    at_full_speed(fleet, pool)
    wait_for(lambda: states(fleet)[pool] == "ready", f"{pool} to take work", 40)
    left = host.journal("-u", POOL, "-b", "-o", "cat", "--grep", "pool.left pool=.* reason=sleep")
    assert left.rstrip().endswith("busy=0")
    assert f"pool {pool} is draining: its host is going to sleep" in fleet.rbee("jobs", "explain", story.job).stdout
    assert (lab.pid(POOL), lab.hive_json("worker", "list")[0]["pid"]) == (daemon, worker)
    fleet.rbee("pool", "drain", other(pool))
    with Story(fleet.lab("blep"), LONG) as again:
        assert isinstance(again.finish(), End)
        assert (where(fleet, again), again.text) == (pool, text)
    fleet.rbee("pool", "undrain", other(pool))
