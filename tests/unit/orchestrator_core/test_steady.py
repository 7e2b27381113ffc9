"""Steady time goes on by what passes, and by nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from rbee.orchestrator_core.steady import Reading, begun, gone_on

walls = st.integers(min_value=0, max_value=1 << 43)
lapses = st.lists(st.tuples(st.integers(min_value=0, max_value=1 << 36), walls))


def test_it_begins_as_the_clock_on_the_wall() -> None:
    assert begun(Reading(boot="a", up_ms=5, wall_ms=1000)).steady_ms == 1000


@given(lapses)
def test_within_a_boot_the_wall_clock_does_not_matter(passed: list[tuple[int, int]]) -> None:
    mark, up_ms = begun(Reading(boot="a", up_ms=7, wall_ms=1000)), 7
    for passed_ms, wall_ms in passed:
        up_ms += passed_ms
        mark = gone_on(mark, Reading(boot="a", up_ms=up_ms, wall_ms=wall_ms))
    assert mark.steady_ms == 1000 + up_ms - 7


@given(lapses)
def test_it_never_goes_back_whatever_boots_and_clocks_do(seen: list[tuple[int, int]]) -> None:
    mark = begun(Reading(boot="0", up_ms=0, wall_ms=1000))
    for number, (up_ms, wall_ms) in enumerate(seen):
        later = gone_on(mark, Reading(boot=str(number // 2), up_ms=up_ms, wall_ms=wall_ms))
        assert later.steady_ms >= mark.steady_ms
        mark = later


def test_of_a_time_without_power_the_wall_clock_tells() -> None:
    mark = gone_on(begun(Reading(boot="a", up_ms=9000, wall_ms=1000)), Reading(boot="b", up_ms=3, wall_ms=1600))
    assert mark.steady_ms == 1600
