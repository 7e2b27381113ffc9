"""Who may join the queue."""

from rbee.errors import DeadlineUnmet, QueueFull
from rbee.orchestrator_core.admission import Accept, Admission, Refuse, admit
from rbee.orchestrator_core.queue import Queue
from rbee.wire.jobs import JobSpec, Priority
from tests.unit.orchestrator_core.test_queue import waiting


def ask(queue: Queue, *, capacity: int = 2, policy: str = "reject", predicted: int | None = None,
        deadline: int | None = None, job_ms: float | None = None) -> Admission:  # fmt: skip
    spec = JobSpec(model="tiny", prompt="hello", priority=Priority.INTERACTIVE, deadline_ms=deadline)
    return admit(spec, queue, capacity=capacity, policy=policy, predicted_start_ms=predicted, job_ms=job_ms)


def filled(*, batch: bool = False) -> Queue:
    queue = Queue()
    queue.push(waiting(1, batch=batch), 0.0)
    queue.push(waiting(2, batch=batch), 0.0)
    return queue


def test_there_is_room() -> None:
    assert ask(Queue()) == Accept()


def test_a_full_queue_says_when_to_come_back() -> None:
    refused = ask(filled(), job_ms=12_000)
    assert isinstance(refused, Refuse) and isinstance(refused.error, QueueFull)
    assert refused.error.details["retry_after_s"] == 12
    assert refused.error.retriable


def test_unbounded_is_never_full() -> None:
    assert ask(filled(), capacity=-1) == Accept()


def test_drop_lru_displaces_a_batch_job_but_never_an_interactive_one() -> None:
    assert ask(filled(batch=True), policy="drop-lru") == Accept(displaces="job-1")
    assert isinstance(ask(filled(), policy="drop-lru"), Refuse)


def test_a_deadline_that_cannot_be_met_is_refused_with_both_numbers() -> None:
    refused = ask(Queue(), predicted=5000, deadline=1000)
    assert isinstance(refused, Refuse) and isinstance(refused.error, DeadlineUnmet)
    assert refused.error.details == {"deadline_ms": 1000, "predicted_start_ms": 5000}
    assert ask(Queue(), predicted=500, deadline=1000) == Accept()
    assert ask(Queue(), predicted=None, deadline=1000) == Accept()
