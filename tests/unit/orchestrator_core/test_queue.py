"""The order of the queue, against a model that is too simple to be wrong."""

import dataclasses
from collections import Counter
from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rbee.orchestrator_core.queue import PROMOTED_AFTER_S, Queue, Waiting
from rbee.wire.jobs import Priority


def waiting(
    number: int, *, batch: bool = False, caller: str = "", at: float = 0.0, after: float = 0.0, need: str = "tiny"
) -> Waiting:
    return Waiting(
        job=f"job-{number}",
        number=number,
        priority=Priority.BATCH if batch else Priority.INTERACTIVE,
        caller=caller,
        arrived_s=at,
        need=need,
        not_before_s=after,
    )


def filled(*entries: Waiting, now_s: float = 0.0) -> Queue:
    queue = Queue()
    for entry in entries:
        queue.push(entry, now_s)
    return queue


def order(queue: Queue, now_s: float = 0.0) -> list[int]:
    queue.advance(now_s)
    return [entry.number for entry in queue.order()]


def served(queue: Queue, count: int = 100) -> list[int]:
    """Serve the next job until there is none, and return their numbers."""
    numbers = []
    while len(numbers) < count and (head := next(queue.heads(), None)) is not None:
        queue.serve(head.job)
        numbers.append(head.number)
    return numbers


def test_first_come_first_served() -> None:
    queue = filled(*(waiting(number) for number in (1, 2, 3)))
    assert order(queue) == served(filled(*queue.order())) == [1, 2, 3]
    assert [queue.position(f"job-{number}") for number in (1, 2, 3, 4)] == [0, 1, 2, None]


def test_who_is_passed_stays_and_lets_the_next_of_the_same_need_come_up() -> None:
    queue = filled(*(waiting(number, need="tiny" if number % 2 else "big") for number in (1, 2, 3, 4, 5)))
    passed, seen = set[str](), []
    for entry in queue.heads(passed):
        seen.append(entry.number)
        if entry.number in (1, 3):
            passed.add(entry.job)
    assert seen == [1, 2, 3, 5], "both of the held ones let go of their place; 2 stands for 4"
    passed = {"job-1"}
    for entry in queue.heads(passed):
        if entry.number == 3:
            queue.serve(entry.job)
        seen.append(entry.number)
    assert seen[4:] == [1, 2, 3, 5]
    assert order(queue) == [1, 2, 4, 5]
    assert [entry.number for entry in queue.first(2)] == [1, 2]


def test_interactive_before_batch() -> None:
    assert order(filled(waiting(1, batch=True), waiting(2))) == [2, 1]


def test_a_batch_job_that_waited_long_is_promoted() -> None:
    queue = filled(waiting(1, batch=True), waiting(2, at=10.0))
    assert order(queue, PROMOTED_AFTER_S - 1) == [2, 1]
    assert queue.next_due_s() == PROMOTED_AFTER_S
    assert order(queue, PROMOTED_AFTER_S) == [1, 2]
    assert queue.next_due_s() is None


def test_callers_take_turns() -> None:
    queue = filled(*(waiting(number, caller="ann") for number in (1, 2, 3)), waiting(4, caller="bob"))
    assert order(queue) == [1, 4, 2, 3]


def test_turns_are_remembered_so_one_job_at_a_time_is_fair_as_well() -> None:
    queue = filled(*(waiting(number, caller="ann") for number in (1, 2, 3, 4)), waiting(5, caller="bob"))
    queue.push(waiting(6, caller="bob"), 0.0)
    assert served(queue) == [1, 5, 2, 6, 3, 4]


def test_who_was_away_has_saved_nothing_up() -> None:
    queue = filled(*(waiting(number, caller="ann") for number in range(1, 6)))
    assert served(queue, 3) == [1, 2, 3]
    for number in (6, 7, 8):
        queue.push(waiting(number, caller="bob"), 0.0)
    assert served(queue) == [4, 6, 5, 7, 8]


def test_a_retried_job_does_not_wait_for_another_turn_and_says_when_it_is_due() -> None:
    queue = filled(waiting(2), waiting(3))
    queue.push(dataclasses.replace(waiting(1, after=7.0), again=True), 0.0)
    assert order(queue) == [1, 2, 3]
    assert [head.number for head in queue.heads()] == [2]
    assert queue.next_due_s() == 7.0
    queue.advance(7.0)
    assert [head.number for head in queue.heads()] == [1]
    assert queue.next_due_s() is None


def test_only_the_first_of_each_need_is_looked_at_until_it_is_served() -> None:
    queue = filled(waiting(1), waiting(2), waiting(3, need="big"), waiting(4, need="big"))
    assert [head.number for head in queue.heads()] == [1, 3]
    seen = []
    for head in queue.heads():
        seen.append(head.number)
        if head.need == "big":
            queue.serve(head.job)
    assert seen == [1, 3, 4]
    assert queue.depths() == {"tiny": 2}


def test_who_is_ahead_are_those_with_the_same_needs() -> None:
    queue = filled(waiting(1), waiting(2, need="big"), waiting(3), waiting(4, need="tiny, on mac"))
    third, new = queue.rank("job-3"), queue.next_rank(Priority.INTERACTIVE, "")
    assert third is not None
    assert queue.before(third, ["tiny"], 9) == (1, ["job-1"])
    assert queue.before(new, ["tiny", "tiny, on mac"], 9) == (3, ["job-1", "job-3", "job-4"])
    assert queue.before(new, ["tiny", "tiny, on mac"], 2) == (3, ["job-1", "job-3"])
    assert queue.before(new, ["nobody's"], 9) == (0, [])


def test_a_new_one_is_told_the_place_it_will_have() -> None:
    queue = filled(waiting(1, caller="ann"), waiting(2, caller="ann"), waiting(3, batch=True), waiting(4, batch=True))
    assert queue.place(queue.next_rank(Priority.INTERACTIVE, "ann")) == 2
    assert queue.place(queue.next_rank(Priority.INTERACTIVE, "bob")) == 1, "bob takes his turn before ann's second"
    assert queue.place(queue.next_rank(Priority.BATCH, "")) == 4


def test_many_jobs_that_waited_long_do_not_stand_in_front_of_another_callers_one() -> None:
    queue = Queue(promoted_after_s=60.0)
    for number in range(1, 6):
        queue.push(waiting(number, batch=True, caller="ann"), 0.0)
    queue.advance(60.0)
    queue.push(waiting(6, caller="bob", at=60.0), 60.0)
    order = [entry.number for entry in queue.order()]
    assert order.index(6) == 2, order
    assert [number for number in order if number != 6] == [1, 2, 3, 4, 5]


def test_the_oldest_batch_job_is_the_one_to_give_up() -> None:
    assert Queue().oldest_batch() is None
    queue = filled(*(waiting(number, batch=number > 1) for number in (1, 3, 2)))
    assert queue.oldest_batch() == "job-2"
    queue.remove("job-2")
    assert queue.oldest_batch() == "job-3"


class QueueMachine(RuleBasedStateMachine):
    """Push, serve, remove, let time pass: what must hold of the order, whatever happened before."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.model: dict[str, Waiting] = {}
        self.now_s = 0.0
        self.next = 0

    @rule(
        batch=st.booleans(),
        caller=st.sampled_from(["", "ann", "bob"]),
        need=st.sampled_from(["tiny", "big"]),
        pause_s=st.sampled_from([0.0, 0.0, 5.0]),
    )
    def push(self, batch: bool, caller: str, need: str, pause_s: float) -> None:
        self.next += 1
        entry = waiting(self.next, batch=batch, caller=caller, at=self.now_s, need=need, after=self.now_s + pause_s)
        self.queue.push(entry, self.now_s)
        self.model[entry.job] = entry

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([*self.model, "job-0"]))
        assert self.queue.remove(job) == (self.model.pop(job, None) is not None)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def serve_and_retry(self, data: st.DataObject) -> None:
        entry = self.model[data.draw(st.sampled_from(sorted(self.model)))]
        assert self.queue.serve(entry.job)
        again = dataclasses.replace(entry, again=True, not_before_s=self.now_s + 2)
        self.queue.push(again, self.now_s)
        self.model[entry.job] = again

    @rule()
    def serve_the_next(self) -> None:
        for head in self.queue.heads():
            assert head.not_before_s <= self.now_s
            assert self.queue.serve(head.job)
            del self.model[head.job]
            return

    @rule(seconds=st.floats(0, 200))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.queue.advance(self.now_s)

    def _late(self, entry: Waiting) -> bool:
        return entry.batch and self.now_s < entry.arrived_s + PROMOTED_AFTER_S

    @invariant()
    def a_new_one_comes_last_of_its_caller_and_class(self) -> None:
        for caller in ("", "ann", "bob"):
            for priority in Priority:
                place = self.queue.place(self.queue.next_rank(priority, caller))
                mine = [e for e in self.queue.order() if e.caller == caller and e.priority is priority and not e.again]
                alike = [entry for entry in mine if self._late(entry) is entry.batch]
                assert all((self.queue.position(entry.job) or 0) < max(1, place) for entry in alike)

    @invariant()
    def nobody_is_lost_or_doubled(self) -> None:
        assert len(self.queue) == len(self.model)
        assert sorted(entry.job for entry in self.queue.order()) == sorted(self.model)
        assert [self.queue.position(entry.job) for entry in self.queue.order()] == list(range(len(self.model)))

    @invariant()
    def classes_do_not_mix(self) -> None:
        late = [self._late(entry) for entry in self.queue.order()]
        assert late == sorted(late)

    @invariant()
    def the_heads_are_the_first_of_each_need_that_does_not_pause(self) -> None:
        first: dict[Hashable, str] = {}
        for entry in self.queue.order():
            if entry.not_before_s <= self.now_s:
                first.setdefault(entry.need, entry.job)
        assert [head.job for head in self.queue.heads()] == list(first.values())

    @invariant()
    def each_caller_is_served_in_order_of_arrival(self) -> None:
        for caller in ("", "ann", "bob"):
            for batch in (False, True):
                mine = [e.number for e in self.queue.order() if e.caller == caller and e.batch is batch and not e.again]
                assert mine == sorted(mine)

    @invariant()
    def it_says_when_it_has_to_be_looked_at_again(self) -> None:
        dues = [e.not_before_s for e in self.model.values() if e.not_before_s > self.now_s]
        dues += [e.arrived_s + PROMOTED_AFTER_S for e in self.model.values() if self._late(e)]
        due_s = self.queue.next_due_s()
        assert due_s is None if not dues else due_s is not None and due_s <= min(dues)


TestQueueMachine = QueueMachine.TestCase


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_callers_who_all_wait_are_served_equally_often(jobs_of_each: list[int]) -> None:
    callers = [f"caller-{n}" for n, count in enumerate(jobs_of_each) for _ in range(count)]
    queue = filled(*(waiting(number, caller=caller) for number, caller in enumerate(callers, 1)))
    left, had = Counter(callers), Counter[str]()
    for number in served(queue):
        caller = callers[number - 1]
        others = [had[other] for other in left if left[other] > 0]
        assert had[caller] == min(others), "somebody was served twice while another waited for a first time"
        had[caller] += 1
        left[caller] -= 1
    assert not +left
