"""A job's host is drained, cut off, or gone; the job goes on at another one, with the text it would have had."""

from rbee.wire.events import End
from tests.fleet.house import House
from tests.fleet.moving import LONG, at_full_speed, other, ready_workers, slow_story, states, went_on
from tests.rig.waiting import wait_for
from tests.systemd.story import Story


def workers(house: House, pool: str) -> list[str]:
    return [worker["state"] for worker in house.lab(pool).hive_json("worker", "list")]


def test_a_drain_with_a_deadline_moves_what_runs(fleet: House, text: str) -> None:
    with slow_story(fleet) as (story, pool):
        fleet.rbee("pool", "drain", pool, "--deadline", "0")
        went_on(fleet, story, text, at=other(pool))
    wait_for(lambda: workers(fleet, pool) == ["ready"], "its slot to be free")
    at_full_speed(fleet, pool)
    fleet.rbee("pool", "undrain", pool)
    assert "is draining, and its deadline has passed" in fleet.rbee("jobs", "explain", story.job).stdout


def test_a_host_without_power_loses_nobodys_answer(fleet: House, text: str) -> None:
    with slow_story(fleet) as (story, pool):
        fleet.hosts[pool].power_loss()
        went_on(fleet, story, text, at=other(pool))
    fleet.hosts[pool].boot()
    fleet.lab(pool).hive("status", "--http")  # nothing starts there before somebody asks
    wait_for(lambda: states(fleet)[pool] == "ready", f"{pool} to be back", 40)


def test_a_host_whose_cable_is_pulled_loses_nobodys_answer(fleet: House, text: str) -> None:
    ready_workers(fleet)
    with slow_story(fleet) as (story, pool):
        fleet.hosts[pool].cut_link()
        try:
            went_on(fleet, story, text, at=other(pool))
        finally:
            fleet.hosts[pool].restore_link()
            at_full_speed(fleet, pool)
    wait_for(lambda: states(fleet)[pool] == "ready", f"{pool} to be back", 40)
    with Story(fleet.lab("blep"), LONG) as story:
        assert isinstance(story.finish(), End)
        assert story.text == text
