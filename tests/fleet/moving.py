"""Jobs that move from one host to another: the long one of the tests, and what its stream is held to."""

import contextlib
from collections.abc import Iterator

from rbee.wire.events import End, Metrics, Started
from rbee.wire.jobs import JobSpec
from tests.fleet.house import House
from tests.systemd.story import Story

LONG = JobSpec(model="smollm2", prompt="Once upon a time", max_tokens=300, temperature=0, seed=1, ignore_eos=True)
AWAY = ("workstation", "mac")

SLOWLY = "20%"
"""So much of a CPU the workers have where a job is to be moved from: it is slower than the commands before that."""


def states(house: House) -> dict[str, str]:
    return {pool["id"]: pool["state"] for pool in house.rbee_json("pool", "list")}


def where(house: House, story: Story) -> str:
    pool: str = house.rbee_json("jobs", "status", story.job)["pool"]
    return pool


@contextlib.contextmanager
def slow_story(house: House) -> Iterator[tuple[Story, str]]:
    """Tell the long job, and say where it runs: slowly, till ``at_full_speed``. Where it may go on is quick."""
    for name in AWAY:
        house.lab(name).limit_cpu(SLOWLY)
    with Story(house.lab("blep"), LONG) as story:
        story.wait_for_tokens(5)
        pool = next(event.pool for _, event in story.seen if isinstance(event, Started))
        assert pool is not None
        at_full_speed(house, other(pool))
        yield story, pool


def at_full_speed(house: House, name: str) -> None:
    house.lab(name).limit_cpu("")


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


def ready_workers(house: House) -> None:
    """Have a worker on each host, whatever a test before did to them."""
    for name in AWAY:
        if not house.lab(name).hive_json("worker", "list"):
            house.rbee("pool", "worker", "spawn", "cpu", "--model", "smollm2", "--ctx", "1024", "--host", name)
