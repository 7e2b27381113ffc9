"""Who may join the queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import DeadlineUnmet, QueueFull
from rbee.orchestrator_core.admission import (
    Accept,
    Admission,
    Context,
    Refuse,
    admit,
    context_of,
    surely_fits,
    tokens_at_least,
    too_long,
)
from rbee.wire.jobs import JobSpec
from rbee.wire.workers import Backend
from tests.unit.orchestrator_core.snapshots import device, need, snapshot, view, worker


def ask(
    waiting: int = 0,
    *,
    oldest_batch: str | None = None,
    policy: str = "reject",
    capacity: int = 2,
    start_ms: int | None = None,
    deadline_ms: int | None = None,
    next_ms: int | None = None,
) -> Admission:
    return admit(
        JobSpec(model="tiny", prompt="hello", deadline_ms=deadline_ms),
        waiting=waiting,
        oldest_batch=oldest_batch,
        capacity=capacity,
        policy=policy,
        start_ms=start_ms,
        next_ms=lambda: next_ms,
    )


def test_there_is_room() -> None:
    assert ask() == Accept()


@pytest.mark.parametrize(("next_ms", "retry_after_s"), [(11_200, 12), (3, 1), (3_600_000, 60), (None, 5)])
def test_a_full_queue_says_when_to_come_back(next_ms: int | None, retry_after_s: int) -> None:
    refused = ask(2, next_ms=next_ms)
    assert isinstance(refused, Refuse) and isinstance(refused.error, QueueFull)
    assert refused.error.details == {"retry_after_s": retry_after_s, "waiting": 2, "capacity": 2}
    assert refused.error.retriable


def test_unbounded_is_never_full() -> None:
    assert ask(2, capacity=-1) == Accept()


def test_drop_lru_displaces_a_batch_job_but_never_an_interactive_one() -> None:
    assert ask(2, oldest_batch="job-1", policy="drop-lru") == Accept(displaces="job-1")
    assert isinstance(ask(2, policy="drop-lru"), Refuse)
    assert isinstance(ask(2, oldest_batch="job-1"), Refuse)


def test_a_deadline_that_cannot_be_met_is_refused_with_both_numbers() -> None:
    refused = ask(start_ms=5000, deadline_ms=1000)
    assert isinstance(refused, Refuse) and isinstance(refused.error, DeadlineUnmet)
    assert refused.error.details == {"deadline_ms": 1000, "predicted_start_ms": 5000}
    assert ask(start_ms=500, deadline_ms=1000) == Accept()
    assert ask(start_ms=None, deadline_ms=1000) == Accept()


def sizes(*, token_bytes: int = 4, ctx: int = 4096) -> Context:
    return Context(least=ctx, most=ctx, token_bytes=token_bytes)


def long(text: str) -> JobSpec:
    return JobSpec(model="tiny", prompt=text)


def test_a_short_prompt_needs_no_counting_and_a_long_one_does() -> None:
    assert surely_fits(long("x" * 4000), sizes())
    assert not surely_fits(long("x" * 4090), sizes()), "its template may be what is too much"


def test_what_cannot_fit_is_refused_by_the_longest_token_there_is() -> None:
    assert tokens_at_least(long("x" * 4001), sizes()) == 1001
    assert tokens_at_least(long("x" * 4001), sizes(token_bytes=0)) == 0
    assert too_long(long("x"), 4095, sizes(), counted=True) is None
    refusal = too_long(long("x"), 4096, sizes(), counted=False)
    assert refusal is not None and "at least 4096 tokens" in refusal.message


def test_contexts_are_those_of_workers_and_of_what_could_be_started() -> None:
    pool = snapshot("blep", worker(0, ctx=512), devices=(device(),), needs=(need(backend=Backend.CPU),))
    found = context_of(long("x"), view(pool))
    assert found == Context(least=512, most=4096, token_bytes=0)
    assert context_of(long("x"), view(snapshot("blep"))) is None
    assert context_of(JobSpec(model="other", prompt="x"), view(pool)) is None


@given(st.text(min_size=1, max_size=3000), st.integers(1, 300))
def test_a_bound_is_never_more_than_the_tokens_there_are(text: str, longest: int) -> None:
    tokens = len(text.encode())  # the most there can be: each byte one
    assert tokens_at_least(long(text), sizes(token_bytes=longest)) <= tokens
