import pytest

from rbee.errors import InsufficientMemory
from rbee.pool_core import held, unit
from rbee.pool_core.ports import HoldPlan
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import HostResources
from tests.fakes.pool import PLACE

GIB = 1 << 30
MODEL = ModelFile(id="big", reference="file:/m/big.gguf", paths=("/m/a b$;.gguf",), size_bytes=4 * GIB)


def host(available: int) -> HostResources:
    return HostResources(cpus=2, memory_total_bytes=10 * GIB, memory_available_bytes=available, disk_free_bytes=0)


def test_a_tenth_of_all_memory_stays_free() -> None:
    assert held.plan(MODEL, host(5 * GIB)).size_bytes == 4 * GIB
    with pytest.raises(InsufficientMemory, match="4294967296 bytes, 1073741824 are to stay free") as raised:
        held.plan(MODEL, host(5 * GIB - 1))
    assert raised.value.details == {"needed_bytes": 5 * GIB, "free_bytes": 5 * GIB - 1}


def test_what_is_held_is_read_back_from_the_command_line() -> None:
    plan = HoldPlan(model="big", model_paths=MODEL.paths, size_bytes=1)
    assert held.model_of(held.argv(plan, "/bin/w")) == "big"


def test_a_workers_command_line_holds_nothing() -> None:
    with pytest.raises(unit.NotAWorker):
        held.model_of(["/bin/w", "--id=worker-cpu-0", "--model=tiny"])


def test_the_unit_may_use_what_it_holds_and_little_more() -> None:
    made = held.properties(HoldPlan(model="big", model_paths=MODEL.paths, size_bytes=4 * GIB), PLACE)
    assert made["MemoryMax"] == 4 * GIB + (128 << 20)
    assert made["PrivateNetwork"] is True
    assert made["Slice"] == "rbee-workers.slice"


def test_what_is_being_held_already_is_not_given_twice() -> None:
    assert held.plan(MODEL, host(6 * GIB), promised_bytes=GIB).size_bytes == 4 * GIB
    with pytest.raises(InsufficientMemory, match="are to stay free or promised"):
        held.plan(MODEL, host(6 * GIB), promised_bytes=2 * GIB)
