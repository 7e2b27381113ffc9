"""When a job will start, held against letting the jobs run."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.orchestrator_core.rates import REMEMBERED, Rates, Sample, start_ms


def sample(tokens: int = 100, ttft_ms: float = 50.0, decode_ms: float = 1000.0) -> Sample:
    return Sample(tokens_out=tokens, ttft_ms=ttft_ms, decode_ms=decode_ms)


def test_a_model_nobody_has_run_has_no_rate() -> None:
    assert Rates().of("tiny") is None


def test_a_rate_is_of_the_last_jobs_at_that_pool_else_of_all() -> None:
    rates = Rates()
    for _ in range(REMEMBERED):
        rates.note("tiny", "slow", sample(decode_ms=9000.0))
    rates.note("tiny", "fast", sample())
    fast, slow, new = rates.of("tiny", "fast"), rates.of("tiny", "slow"), rates.of("tiny", "new")
    assert fast and slow and new
    assert (fast.token_ms, slow.token_ms) == (pytest.approx(10.0), pytest.approx(90.0))
    assert fast.token_ms < new.token_ms < slow.token_ms
    for _ in range(5):
        rates.note("tiny", "slow", sample())
    quicker = rates.of("tiny", "slow")
    assert quicker and quicker.token_ms < (fast.token_ms + slow.token_ms) / 2, "the last jobs count most"
    for _ in range(REMEMBERED):
        rates.note("tiny", "slow", sample())
    again = rates.of("tiny", "slow")
    assert again and again.token_ms == pytest.approx(fast.token_ms)
    rates.forget("slow")
    assert rates.of("tiny", "slow") == fast, "as fast as at the pools that are left"


def test_a_job_takes_its_usual_length_and_no_longer_than_it_may() -> None:
    rates = Rates()
    rates.note("tiny", "blep", sample())
    rate = rates.of("tiny")
    assert rate is not None
    assert rate.job_ms(1000) == 1050.0
    assert rate.job_ms(10) == 150.0
    assert [rate.remaining_ms(tokens, 200) for tokens in (0, 50, 150)] == [1050.0, 500.0, 250.0]


@pytest.mark.parametrize(
    ("slots", "ahead", "expected"),
    [([0], 0, 0), ([300], 0, 300), ([300], 2, 300 + 2 * 100), ([300, 20], 1, 120), ([0, 0], 2, 100), ([900], 3, 1200)],
)
def test_when_the_next_one_starts(slots: list[float], ahead: int, expected: float) -> None:
    assert start_ms(slots, ahead, 100.0) == expected


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=9), st.integers(0, 60), st.integers(1, 3000))
def test_it_is_what_running_them_all_would_give(slots: list[int], ahead: int, job_ms: int) -> None:
    running = list(slots)
    heapq.heapify(running)
    for _ in range(ahead):
        heapq.heappush(running, heapq.heappop(running) + job_ms)
    assert start_ms(slots, ahead, job_ms) == running[0]


@given(st.integers(0, 20_000))
def test_more_ahead_is_never_sooner(ahead: int) -> None:
    assert start_ms([10.0, 70.0], ahead + 1, 100.0) >= start_ms([10.0, 70.0], ahead, 100.0)
