import pytest

from rbee.errors import ModelLoadFailed, RbeeError, Timeout, WorkerHung, WorkerLost, WorkerOom
from rbee.pool_core import failure
from rbee.wire.workers import WorkerExit


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (WorkerExit(result="oom-kill", oom=True), WorkerOom),
        (WorkerExit(result="signal", code="killed/KILL", oom=True), WorkerOom),
        (WorkerExit(result="signal", code="killed/KILL"), WorkerLost),
        (WorkerExit(result="watchdog"), WorkerHung),
        (WorkerExit(result="timeout"), Timeout),
        (WorkerExit(result="exit-code", code="exited/1"), ModelLoadFailed),
        (WorkerExit(result="protocol"), ModelLoadFailed),
        (WorkerExit(result="start-limit-hit"), WorkerLost),
        (WorkerExit(result="resources"), WorkerLost),
    ],
    ids=str,
)
def test_each_end_has_its_error(ended: WorkerExit, kind: type[RbeeError]) -> None:
    error = failure.start_failure("worker-cpu-0", "tiny", ended)
    assert type(error) is kind
    assert error.details["result"] == ended.result
    assert error.hint


def test_out_of_memory_tells_limit_and_peak() -> None:
    ended = WorkerExit(result="signal", oom=True, memory_limit_bytes=100, memory_peak_bytes=99)
    error = failure.start_failure("worker-cpu-0", "tiny", ended)
    assert (error.details["limit_bytes"], error.details["peak_bytes"]) == (100, 99)


def test_a_model_that_does_not_load_is_told_in_the_workers_own_words() -> None:
    log = ("Starting rbee-worker…", "tensor 'x' is truncated", "worker.ended result=exit-code", "rbee-worker: Failed")
    error = failure.start_failure("worker-cpu-0", "tiny", WorkerExit(result="exit-code", log=log))
    assert error.message == "worker-cpu-0 could not load tiny: tensor 'x' is truncated"
    assert error.details["log"] == list(log)
