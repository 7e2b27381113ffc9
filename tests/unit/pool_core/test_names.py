import itertools

import pytest

from rbee.errors import InvalidRequest
from rbee.pool_core import names


@pytest.mark.parametrize(
    ("worker", "unit"),
    [
        ("worker-cpu-0", "rbee-worker-cpu-0.service"),
        ("worker-cuda-12", "rbee-worker-cuda-12.service"),
        ("mine", "rbee-worker-mine.service"),
        ("a.b_c", "rbee-worker-a.b_c.service"),
    ],
)
def test_units_are_called_after_workers(worker: str, unit: str) -> None:
    assert names.check(worker) == worker
    assert names.service(worker) == unit
    assert names.socket(worker) == unit.replace(".service", ".socket")


@pytest.mark.parametrize("worker", ["cpu-0", "cuda-3", "metal-10"])
def test_an_id_that_would_take_a_default_workers_unit_is_refused(worker: str) -> None:
    assert names.stem(worker) == names.stem(f"worker-{worker}")
    with pytest.raises(InvalidRequest, match="would be that of worker-") as refused:
        names.check(worker)
    assert refused.value.hint == f"call it worker-{worker}"


@pytest.mark.parametrize(
    "worker", ["", "../x;y", "A", "-x", "a b", "x@1", "é", "x" * 64, "ssh.service", "x.socket", "a\n"]
)
def test_what_is_no_name_is_refused(worker: str) -> None:
    with pytest.raises(InvalidRequest):
        names.check(worker)


def test_the_lowest_free_number_is_taken() -> None:
    free = names.free_ids("cpu", ["worker-cpu-0", "worker-cpu-2", "worker-cuda-1"])
    assert list(itertools.islice(free, 3)) == ["worker-cpu-1", "worker-cpu-3", "worker-cpu-4"]
