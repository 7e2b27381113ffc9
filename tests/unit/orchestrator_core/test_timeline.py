"""A job's story, in the order in which it happened."""

import pytest

from rbee.orchestrator_core.timeline import timeline
from rbee.wire.jobs import JobState, JobStatus, Priority
from rbee.wire.workers import WorkerDecision

RAN = {"at_ms": 40, "decision": "run", "sentence": "ran on worker-cuda-1 on blep"}


def status(state: JobState, **facts: object) -> JobStatus:
    return JobStatus(id="mine", state=state, model="tiny", created_ms=10, **facts)  # type: ignore[arg-type]


def test_who_came_and_went_for_it_stands_where_it_happened() -> None:
    workers = [
        ("blep", "worker-cuda-1", WorkerDecision(at_ms=30, decision="spawn", why="started a worker of tiny on gpu 0")),
        ("blep", "worker-cuda-0", WorkerDecision(at_ms=20, decision="evict", why="evicted for tiny: it was idle")),
    ]
    told = timeline(status(JobState.COMPLETED, finished_ms=50, tokens_out=1), [RAN], workers)
    assert [each["sentence"] for each in told] == [
        "accepted as an interactive job for tiny",
        "worker-cuda-0 on blep was evicted for tiny: it was idle",
        "started a worker of tiny on gpu 0: worker-cuda-1",
        "ran on worker-cuda-1 on blep",
        "completed with 1 token",
    ]


def test_one_that_is_not_over_has_no_end_yet() -> None:
    told = timeline(status(JobState.QUEUED, priority=Priority.BATCH, caller="ann"), [], [])
    assert [each["sentence"] for each in told] == ["accepted as a batch job of ann for tiny"]


@pytest.mark.parametrize(
    ("state", "decisions", "last"),
    [
        (JobState.CANCELLED, [RAN], "was cancelled after 3 tokens"),
        (JobState.FAILED, [RAN], "failed: the disk is full"),
        (JobState.FAILED, [{"at_ms": 45, "decision": "fail", "sentence": "failed: late"}], "failed: late"),
        (JobState.CANCELLED, [{"at_ms": 45, "decision": "cancel", "sentence": "was cancelled"}], "was cancelled"),
    ],
)
def test_its_end_is_told_once(state: JobState, decisions: list[dict[str, object]], last: str) -> None:
    told = timeline(status(state, finished_ms=50, tokens_out=3, reason="the disk is full"), decisions, [])
    assert told[-1]["sentence"] == last
    assert sum(each["decision"] in ("end", "fail", "cancel") for each in told) == 1
