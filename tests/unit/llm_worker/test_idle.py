from rbee.llm_worker.idle import Idleness


def test_it_is_time_to_go_after_the_limit() -> None:
    idleness = Idleness(limit_s=10, used_s=100)
    assert idleness.wait_s(104, busy=False) == 6
    assert idleness.wait_s(110, busy=False) == 0
    assert idleness.wait_s(500, busy=False) == 0


def test_use_begins_the_count_again() -> None:
    idleness = Idleness(limit_s=10, used_s=100)
    idleness.use(109)
    assert idleness.wait_s(110, busy=False) == 9


def test_a_busy_worker_never_goes() -> None:
    assert Idleness(limit_s=10, used_s=0).wait_s(1_000, busy=True) == 10
