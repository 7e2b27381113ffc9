"""The order of the queue, against a model that is too simple to be wrong."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rbee.orchestrator_core.queue import PROMOTED_AFTER_S, Queue, Waiting
from rbee.wire.jobs import Priority


def waiting(number: int, *, batch: bool = False, caller: str = "", at: float = 0.0, after: float = 0.0) -> Waiting:
    return Waiting(
        job=f"job-{number}",
        number=number,
        priority=Priority.BATCH if batch else Priority.INTERACTIVE,
        caller=caller,
        arrived_s=at,
        not_before_s=after,
    )


def order(queue: Queue, now_s: float = 0.0) -> list[int]:
    return [entry.number for entry in queue.order(now_s)]


def test_first_come_first_served() -> None:
    queue = Queue()
    for number in (3, 1, 2):
        queue.push(waiting(number))
    assert order(queue) == [1, 2, 3]
    assert queue.positions(0.0) == {"job-1": 0, "job-2": 1, "job-3": 2}


def test_interactive_before_batch() -> None:
    queue = Queue()
    queue.push(waiting(1, batch=True))
    queue.push(waiting(2))
    assert order(queue) == [2, 1]


def test_a_batch_job_that_waited_long_is_promoted() -> None:
    queue = Queue()
    queue.push(waiting(1, batch=True, at=0.0))
    queue.push(waiting(2, at=10.0))
    assert order(queue, PROMOTED_AFTER_S - 1) == [2, 1]
    assert order(queue, PROMOTED_AFTER_S) == [1, 2]


def test_callers_take_turns() -> None:
    queue = Queue()
    for number in (1, 2, 3):
        queue.push(waiting(number, caller="ann"))
    queue.push(waiting(4, caller="bob"))
    assert order(queue) == [1, 4, 2, 3]


def test_a_retried_job_keeps_its_place_and_says_when_it_is_due() -> None:
    queue = Queue()
    queue.push(waiting(2))
    queue.push(waiting(1, after=7.0))
    assert order(queue) == [1, 2]
    assert queue.next_due_s(0.0) == 7.0
    assert queue.next_due_s(7.0) is None


def test_the_oldest_batch_job_is_the_one_to_give_up() -> None:
    queue = Queue()
    assert queue.oldest_batch() is None
    for number in (1, 3, 2):
        queue.push(waiting(number, batch=number > 1))
    assert queue.oldest_batch() == "job-2"


class QueueMachine(RuleBasedStateMachine):
    """Push, remove, let time pass; the order must always be that of a plain sort."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.model: dict[str, Waiting] = {}
        self.now_s = 0.0
        self.next = 0

    @rule(batch=st.booleans(), caller=st.sampled_from(["", "ann", "bob"]))
    def push(self, batch: bool, caller: str) -> None:
        self.next += 1
        entry = waiting(self.next, batch=batch, caller=caller, at=self.now_s)
        self.queue.push(entry)
        self.model[entry.job] = entry

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([*self.model, "job-0"]))
        assert self.queue.remove(job) == (self.model.pop(job, None) is not None)

    @rule(seconds=st.floats(0, 200))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def nobody_is_lost_or_doubled(self) -> None:
        assert len(self.queue) == len(self.model)
        assert {entry.job for entry in self.queue.order(self.now_s)} == set(self.model)

    @invariant()
    def classes_do_not_mix(self) -> None:
        late = [not entry.promoted(self.now_s) for entry in self.queue.order(self.now_s)]
        assert late == sorted(late)

    @invariant()
    def each_caller_is_served_in_order_of_arrival(self) -> None:
        for caller in ("", "ann", "bob"):
            for late in (False, True):
                mine = [
                    entry.number
                    for entry in self.queue.order(self.now_s)
                    if entry.caller == caller and entry.promoted(self.now_s) is not late
                ]
                assert mine == sorted(mine)

    @invariant()
    def whoever_came_first_in_a_class_is_next(self) -> None:
        order = self.queue.order(self.now_s)
        if order:
            first = order[0]
            same = [e for e in order if e.promoted(self.now_s) == first.promoted(self.now_s)]
            assert first.number == min(entry.number for entry in same)


TestQueueMachine = QueueMachine.TestCase
