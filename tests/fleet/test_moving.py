"""A job's host is drained, cut off, or gone; the job goes on at another one, with the text it would have had."""

from collections.abc import Iterator

import pytest

from rbee.wire.events import End, Metrics, Started
from rbee.wire.jobs import JobSpec
from tests.fleet.house import NAMES, House
from tests.rig.waiting import wait_for
from tests.systemd.story import Story

LONG = JobSpec(model="smollm2", prompt="Once upon a time", max_tokens=220, temperature=0, seed=1, ignore_eos=True)
AWAY = ("workstation", "mac")


@pytest.fixture(scope="module")
def fleet(house: House) -> Iterator[House]:
    """The queen on blep, and pools on the other two; blep's own takes nothing."""
    house.rbee("orchestrator", "listen", "8080")
    for name in NAMES:
        house.rbee("pool", "register", name)
    house.rbee("pool", "drain", "blep")
    for name in AWAY:
        house.rbee("pool", "worker", "spawn", "cpu", "--model", "smollm2", "--ctx", "1024", "--host", name)
    yield house


@pytest.fixture(scope="module")
def text(fleet: House) -> str:
    """What the job says when nothing happens to it."""
    with Story(fleet.lab("blep"), LONG) as story:
        assert isinstance(story.finish(), End)
    return story.text


def states(house: House) -> dict[str, str]:
    return {pool["id"]: pool["state"] for pool in house.rbee_json("pool", "list")}


def where(house: House, story: Story) -> str:
    pool: str = house.rbee_json("jobs", "status", story.job)["pool"]
    return pool


def went_on(house: House, story: Story, text: str, *, at: str) -> None:
    """Hold the stream to what every stream promises, and the text to what it would have been."""
    assert isinstance(story.finish(), End), story.seen[-1]
    assert [number for number, _ in story.seen] == list(range(1, len(story.seen) + 1))
    assert sum(isinstance(event, Started) for _, event in story.seen) == 1
    resumed = [event.resumed_on for _, event in story.seen if isinstance(event, Metrics) and event.resumed_on]
    assert [each.partition(":")[0] for each in resumed] == [at]
    assert where(house, story) == at
    assert story.text == text


def other(pool: str) -> str:
    return next(name for name in AWAY if name != pool)


def test_a_drain_with_a_deadline_moves_what_runs(fleet: House, text: str) -> None:
    with Story(fleet.lab("blep"), LONG) as story:
        story.wait_for_tokens(5)
        pool = where(fleet, story)
        fleet.rbee("pool", "drain", pool, "--deadline", "0")
        went_on(fleet, story, text, at=other(pool))
    busy = fleet.lab(pool).hive_json("worker", "list")
    assert [worker["state"] for worker in busy] == ["ready"], "its slot is free"
    fleet.rbee("pool", "undrain", pool)
    assert "is draining, and its deadline has passed" in fleet.rbee("jobs", "explain", story.job).stdout


def test_a_host_without_power_loses_nobodys_answer(fleet: House, text: str) -> None:
    with Story(fleet.lab("blep"), LONG) as story:
        story.wait_for_tokens(5)
        pool = where(fleet, story)
        fleet.hosts[pool].power_loss()
        went_on(fleet, story, text, at=other(pool))
    fleet.hosts[pool].boot()
    fleet.lab(pool).hive("status", "--http")  # nothing starts there before somebody asks
    wait_for(lambda: states(fleet)[pool] == "ready", f"{pool} to be back", 40)


def test_a_host_whose_cable_is_pulled_loses_nobodys_answer(fleet: House, text: str) -> None:
    for name in AWAY:
        if not fleet.lab(name).hive_json("worker", "list"):
            fleet.rbee("pool", "worker", "spawn", "cpu", "--model", "smollm2", "--ctx", "1024", "--host", name)
    with Story(fleet.lab("blep"), LONG) as story:
        story.wait_for_tokens(5)
        pool = where(fleet, story)
        fleet.hosts[pool].cut_link()
        try:
            went_on(fleet, story, text, at=other(pool))
        finally:
            fleet.hosts[pool].restore_link()
    wait_for(lambda: states(fleet)[pool] == "ready", f"{pool} to be back", 40)
    with Story(fleet.lab("blep"), LONG) as story:
        assert isinstance(story.finish(), End)
        assert story.text == text
