"""What a script may have done, and what not."""

from typing import Any

import pytest

from rbee.errors import NoCapacity, PolicyFailed
from rbee.orchestrator_core import policy
from rbee.orchestrator_core.scheduling import Decision, Evict, Refuse, Run, Spawn, Wait
from rbee.orchestrator_core.view import View
from rbee.wire.jobs import JobSpec
from rbee.wire.workers import Backend, WorkerState
from tests.unit.orchestrator_core.snapshots import GIB, cuda, device, need, snapshot, view, worker

JOB = JobSpec(model="tiny", prompt="héllo", max_tokens=9)


def house(**known: Any) -> View:
    return view(
        snapshot(
            "blep",
            cuda(0, need=GIB, model="big"),
            cuda(1, need=GIB, model="big", pinned=True),
            cuda(2, need=2 * GIB, state=WorkerState.ASLEEP, gpu=1),
            worker(3, slots=2),
            models=("tiny", "big"),
            devices=(device(None), device(0, free=3 * GIB), device(1, free=GIB)),
            needs=(need("tiny", takes=2 * GIB), need("big", takes=GIB)),
        ),
        snapshot("mac", worker(9), draining=True),
        **known,
    )


def meant(answer: Any, **known: Any) -> Decision | None:
    return policy.decision_of(answer, JOB, house(**known))


def test_actions_become_decisions() -> None:
    dispatch = {"action": "dispatch", "pool": "blep", "worker": "worker-cpu-3"}
    assert meant(dispatch) == Run("blep", "worker-cpu-3")
    assert meant({"action": "wait", "reason": "x" * 999}) == Wait("x" * 200)
    assert meant({"action": "wait", "reason": "so\x1b[31m\nwhat"}) == Wait("so [31m what")
    assert meant({"action": "wait", "reason": None}) == Wait("the policy has it wait")
    start = meant({"action": "start_worker", "pool": "blep", "backend": "cuda", "gpu": 0})
    assert isinstance(start, Spawn) and (start.place.backend, start.need) == (Backend.CUDA, 2 * GIB)
    gone = meant({"action": "evict_worker", "pool": "blep", "worker": "worker-cuda-0"})
    assert isinstance(gone, Evict) and gone.victims[0].frees == GIB
    assert meant(None) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (7, "expected an action"),
        ({"action": "reboot"}, "expected an action"),
        ({"action": ["dispatch"]}, "expected an action"),
        ({"action": "dispatch"}, "does not serve tiny"),
        ({"action": "dispatch", "pool": "blep", "worker": "worker-cuda-0"}, "does not serve tiny"),
        ({"action": "dispatch", "pool": "mac", "worker": "worker-cpu-9"}, "does not serve tiny"),
        ({"action": "dispatch", "pool": "blep", "worker": "worker-cuda-2"}, "its memory is not free"),
        ({"action": "start_worker", "pool": "blep", "backend": "cuda", "gpu": 1}, "one is there already"),
        ({"action": "start_worker", "pool": "blep", "backend": "cuda", "gpu": 7}, "where tiny cannot be"),
        ({"action": "start_worker", "pool": "nowhere", "backend": "cpu", "gpu": None}, "where tiny cannot be"),
        ({"action": "evict_worker", "pool": "blep", "worker": "worker-cuda-1"}, "is pinned"),
        ({"action": "evict_worker", "pool": "blep", "worker": "worker-cuda-2"}, "is asleep"),
        ({"action": "evict_worker", "pool": "blep", "worker": "nobody"}, "is not there"),
    ],
)
def test_what_cannot_be_is_a_fault(answer: Any, words: str) -> None:
    with pytest.raises(PolicyFailed, match=words):
        meant(answer)


def test_a_full_worker_and_one_with_work_are_left_alone() -> None:
    busy = {("blep", "worker-cpu-3"): 2, ("blep", "worker-cuda-0"): 1}
    with pytest.raises(PolicyFailed, match="no free slot"):
        meant({"action": "dispatch", "pool": "blep", "worker": "worker-cpu-3"}, in_flight=busy)
    with pytest.raises(PolicyFailed, match="has work"):
        meant({"action": "evict_worker", "pool": "blep", "worker": "worker-cuda-0"}, in_flight=busy)


def test_every_decision_but_a_refusal_is_an_action_and_the_same_again() -> None:
    for answer in (
        {"action": "dispatch", "pool": "blep", "worker": "worker-cpu-3"},
        {"action": "wait", "reason": "later"},
        {"action": "start_worker", "pool": "blep", "backend": "cuda", "gpu": 0},
        {"action": "evict_worker", "pool": "blep", "worker": "worker-cuda-0"},
    ):
        decision = meant(answer)
        assert decision is not None
        assert policy.action_of(decision) == answer
    assert policy.action_of(Refuse(NoCapacity("no"))) is None


def test_a_worker_with_too_little_context_is_none_for_a_long_prompt() -> None:
    dispatch = {"action": "dispatch", "pool": "blep", "worker": "worker-cpu-3"}
    known = view(snapshot("blep", worker(3, ctx=512)))
    assert policy.decision_of(dispatch, JOB, known, 511) == Run("blep", "worker-cpu-3")
    with pytest.raises(PolicyFailed, match="whose context is no longer than the prompt"):
        policy.decision_of(dispatch, JOB, known, 512)
