import dataclasses

import pytest

from rbee.pool_core import lifecycle
from rbee.wire.workers import Backend, WorkerExit, WorkerState
from tests.fakes.pool import ASLEEP, PLAN, facts_of


@pytest.mark.parametrize(
    ("service", "socket", "said", "state"),
    [
        ("inactive", "active", "", WorkerState.ASLEEP),
        ("failed", "active", "", WorkerState.ASLEEP),
        ("inactive", "inactive", "", WorkerState.STOPPED),
        ("failed", "failed", "", WorkerState.FAILED),
        ("activating", "active", "loading 10%", WorkerState.STARTING),
        ("active", "active", "", WorkerState.READY),
        ("active", "active", "ready 0/1 slots", WorkerState.READY),
        ("active", "active", "busy 1/1 slots", WorkerState.BUSY),
        ("active", "active", "draining, 1 left", WorkerState.DRAINING),
        ("active", "active", "no word we know", WorkerState.READY),
        ("active", "inactive", "ready", WorkerState.DRAINING),
        ("deactivating", "inactive", "stopping", WorkerState.DRAINING),
        ("deactivating", "active", "stopping", WorkerState.ASLEEP),
    ],
)
def test_state_follows_the_pair(service: str, socket: str, said: str, state: WorkerState) -> None:
    facts = facts_of(service_state=service, socket_state=socket, status_text=said)
    assert lifecycle.state(facts) is state


def test_a_worker_whose_program_is_gone_has_failed_and_says_so() -> None:
    status = lifecycle.status(facts_of(**ASLEEP, program_missing=True))
    assert status.state is WorkerState.FAILED
    assert "llm-worker-rbee is gone" in status.status


@pytest.mark.parametrize(
    ("text", "progress"),
    [("loading 42% tiny", 0.42), ("loading 7.5 %", 0.075), ("loading 250%", 1.0), ("loading", None), ("", None)],
)
def test_progress_is_the_percentage(text: str, progress: float | None) -> None:
    assert lifecycle.progress(text) == progress


def test_status_is_whole_without_anything_stored() -> None:
    plan = dataclasses.replace(PLAN, id="worker-cuda-0", backend="cuda", gpu=1)
    ended = WorkerExit(result="watchdog")
    status = lifecycle.status(facts_of(plan, restarts=2), ended)
    assert (status.id, status.backend, status.gpu, status.address) == ("worker-cuda-0", Backend.CUDA, 1, plan.address)
    assert (status.ctx, status.slots, status.idle_s) == (plan.ctx, plan.slots, plan.idle_s)
    assert (status.memory_limit_bytes, status.restarts, status.pid) == (plan.memory_bytes, 2, 42)
    assert status.unit == "rbee-worker-cuda-0.service"
    assert status.last_exit is ended
    assert status.progress is None


def test_between_two_attempts_the_last_words_of_the_first_are_not_repeated() -> None:
    dead = facts_of(service_state="activating", service_sub_state="auto-restart", status_text="busy 1/1 slots")
    assert (lifecycle.status(dead).state, lifecycle.status(dead).status) == (WorkerState.STARTING, "")


def test_a_sleeping_worker_says_nothing() -> None:
    assert lifecycle.status(facts_of(**{**ASLEEP, "status_text": "ready 0/1"})).status == ""
