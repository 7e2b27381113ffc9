"""Which state may follow which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.orchestrator_core.jobs import ATTEMPTS, LEGAL, LOSSES, backoff_s, may_follow, may_try_again
from rbee.wire.jobs import JobState


def test_every_state_has_its_followers_and_the_finished_have_none() -> None:
    assert set(LEGAL) == set(JobState)
    assert {state for state, after in LEGAL.items() if not after} == {state for state in JobState if state.finished}


def test_every_state_but_the_first_can_be_reached() -> None:
    reached = {JobState.QUEUED}
    while more := {after for state in reached for after in LEGAL[state]} - reached:
        reached |= more
    assert reached == set(JobState)


@given(st.lists(st.sampled_from(JobState), max_size=12))
def test_no_walk_leaves_a_finished_state(wanted: list[JobState]) -> None:
    state = JobState.QUEUED
    for each in wanted:
        before = state
        state = each if state in may_follow(each) else state
        assert not before.finished or state is before


@pytest.mark.parametrize(("attempt", "pause_s"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (9, 16)])
def test_backoff_doubles_and_is_spread(attempt: int, pause_s: float) -> None:
    assert backoff_s(attempt, 0.5) == pause_s
    assert (backoff_s(attempt, 0.0), backoff_s(attempt, 1.0)) == (pause_s / 2, pause_s * 1.5)


@pytest.mark.parametrize(
    ("attempts", "losses", "shaped", "again"),
    [
        (1, 0, True, True),
        (1, 1, True, True),
        (2, LOSSES, True, False),
        (4, 1, True, True),  # the others were cut lines, and drains
        (4, 4, False, True),
        (ATTEMPTS, 0, False, False),
        (ATTEMPTS, 0, True, False),
    ],
)
def test_a_job_with_a_shape_takes_two_workers_with_it_at_most(
    attempts: int, losses: int, shaped: bool, again: bool
) -> None:
    assert may_try_again(attempts, losses=losses, shaped=shaped) is again
