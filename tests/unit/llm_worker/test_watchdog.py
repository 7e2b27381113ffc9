from rbee.llm_worker.engine import SlotActivity
from rbee.llm_worker.watchdog import patience_s, standstill


def busy(**more: object) -> SlotActivity:
    return SlotActivity(number=1, progress_s=100.0, busy=True, **more)  # type: ignore[arg-type]


def test_a_busy_slot_that_moves_is_well() -> None:
    assert standstill([busy()], now_s=129.0, limit_s=30) is None


def test_a_busy_slot_that_stands_is_named() -> None:
    assert standstill([busy()], now_s=131.0, limit_s=30) == "slot 1 has made no progress for 30 s"


def test_an_empty_slot_may_stand() -> None:
    assert standstill([SlotActivity(number=0)], now_s=1e6, limit_s=30) is None


def test_a_slot_that_waits_for_its_reader_may_stand() -> None:
    assert standstill([busy(paused=True)], now_s=1e6, limit_s=30) is None


def test_a_hung_slot_dies_and_a_slow_one_lives() -> None:
    assert patience_s(60.0) == 30.0
    assert patience_s(None) > 0
