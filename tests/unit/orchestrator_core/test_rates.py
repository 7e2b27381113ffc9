"""When a job will start, held against letting the jobs run."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.orchestrator_core.rates import REMEMBERED, Rates, Sample, Size, size_of, start_ms
from rbee.wire.jobs import JobSpec, Work


def sample(tokens: int = 100, ttft_ms: float = 50.0, decode_ms: float = 1000.0) -> Sample:
    return Sample(tokens_out=tokens, ttft_ms=ttft_ms, decode_ms=decode_ms)


def saying(max_tokens: int) -> Size:
    return size_of(JobSpec(model="tiny", prompt="a", max_tokens=max_tokens))


def read(size: int, took_ms: float) -> Sample:
    return Sample(tokens_out=0, ttft_ms=took_ms / 4, decode_ms=took_ms * 3 / 4, read=size)


def reading(size: int) -> Size:
    return size_of(JobSpec(model="enc", work=Work.EMBED, inputs=("a" * size,)))


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
    assert rate.job_ms(saying(1000)) == rate.usual_ms == 1050.0
    assert rate.job_ms(saying(10)) == 150.0
    assert [rate.remaining_ms(saying(200), tokens) for tokens in (0, 50, 150)] == [1050.0, 500.0, 250.0]


@given(st.floats(0, 100), st.floats(0, 10), st.lists(st.integers(1, 10_000), min_size=2, max_size=9, unique=True))
def test_a_job_that_only_reads_takes_what_its_texts_take(base_ms: float, byte_ms: float, sizes: list[int]) -> None:
    rates = Rates()
    for size in sizes:
        rates.note("enc", "blep", read(size, base_ms + byte_ms * size))
    rate = rates.of("enc")
    assert rate is not None
    for size in (1, 777, 100_000):
        assert rate.job_ms(reading(size)) == pytest.approx(base_ms + byte_ms * size, rel=1e-6, abs=0.01)
        assert rate.remaining_ms(reading(size), 0) == rate.job_ms(reading(size))


def test_where_all_texts_were_of_one_length_a_longer_one_is_not_said_to_take_longer() -> None:
    rates = Rates()
    rates.note("enc", "blep", read(100, 50.0))
    rate = rates.of("enc")
    assert rate is not None
    assert [rate.job_ms(reading(size)) for size in (50, 100, 1000)] == [25.0, 50.0, 50.0]


def test_what_longer_texts_took_less_time_for_has_no_speed_below_nothing() -> None:
    rates = Rates()
    for size, took_ms in ((100, 50.0), (200, 10.0)):
        rates.note("enc", "blep", read(size, took_ms))
    rate = rates.of("enc")
    assert rate is not None
    assert rate.job_ms(reading(1)) == rate.job_ms(reading(9000)) == pytest.approx(rate.usual_ms)


def test_what_is_read_is_not_waited_for_and_a_query_is_read_with_each() -> None:
    rates = Rates()
    rates.note("enc", "blep", read(1000, 1000.0))
    rate = rates.of("enc")
    assert rate is not None
    ranking = size_of(JobSpec(model="enc", work=Work.RERANK, query="q" * 10, inputs=("a" * 90, "b" * 190)))
    assert rate.job_ms(ranking) == 300.0
    assert rate.remaining_ms(ranking, 0, 0.5) == 150.0


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
