import pytest

from rbee.pool_core.progress import Progress


def test_rate_and_eta_follow_the_bytes() -> None:
    progress = Progress(1000)
    assert progress.event("downloading", 0, 10.0).rate_bytes_per_s is None
    event = progress.event("downloading", 100, 11.0)
    assert (event.rate_bytes_per_s, event.eta_s) == (100.0, 9.0)
    assert (event.bytes_done, event.bytes_total) == (100, 1000)


def test_only_the_last_five_seconds_count() -> None:
    progress = Progress(None)
    for second in range(10):
        progress.event("downloading", second * 1000, float(second))
    for second in range(10, 20):
        event = progress.event("downloading", 9000 + (second - 9) * 10, float(second))
    assert event.rate_bytes_per_s == 10.0
    assert event.eta_s is None


def test_a_stall_is_a_rate_of_zero_without_an_eta() -> None:
    progress = Progress(1000)
    for second in range(12):
        event = progress.event("downloading", 500, float(second))
    assert event.rate_bytes_per_s == 0
    assert event.eta_s is None


@pytest.mark.parametrize(("state", "done_bytes"), [("verifying", 900), ("downloading", 10)])
def test_another_state_and_a_new_beginning_are_measured_by_themselves(state: str, done_bytes: int) -> None:
    progress = Progress(1000)
    progress.event("downloading", 0, 0.0)
    progress.event("downloading", 800, 1.0)
    assert progress.event(state, done_bytes, 2.0).rate_bytes_per_s is None
    assert progress.event(state, done_bytes + 50, 3.0).rate_bytes_per_s == 50
