"""The real pynvml on a fake driver library, in a process of its own: a library that is loaded once stays loaded."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pynvml
import pytest

from rbee.adapters.gpus import GpuProbe
from rbee.adapters.gpus.nvml import Nvml
from rbee.wire import codec
from rbee.wire.pools import Gpu, GpuInventory
from tests.assets import nvml
from tests.assets.nvml import GIB, gpu, line, process, scenario
from tests.rig.waiting import PATIENCE

LOOKS = """
import sys
from pathlib import Path
from rbee.adapters.gpus import GpuProbe
from rbee.wire import codec
probe = GpuProbe(Path(sys.argv[1]))
for _ in sys.stdin:
    print(codec.dump_json(probe.read()), flush=True)
"""

Look: TypeAlias = Callable[[str], GpuInventory]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@contextlib.contextmanager
def looking(tmp_path: Path, library: Path | None) -> Iterator[Look]:
    """One process that looks whenever it is asked to, after the scenario was changed."""
    file = tmp_path / "scenario"
    folder = str(library.parent) if library else str(tmp_path)
    environ = {**os.environ, "LD_LIBRARY_PATH": folder, "NVML_SCENARIO": str(file)}
    argv = [sys.executable, "-c", LOOKS, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as looker:
        assert looker.stdin and looker.stdout
        stdin, stdout = looker.stdin, looker.stdout

        def look(text: str) -> GpuInventory:
            file.write_text(text)
            stdin.write("look\n")
            stdin.flush()
            return codec.from_dict(GpuInventory, json.loads(stdout.readline()))

        yield look
        stdin.close()
        assert looker.wait(10 * PATIENCE) == 0


@pytest.fixture
def look(tmp_path: Path, library: Path) -> Iterator[Look]:
    with looking(tmp_path, library) as asked:
        yield asked


def one(found: GpuInventory) -> Gpu:
    assert len(found.gpus) == 1, found
    return found.gpus[0]


def test_whatever_this_machine_has_is_an_inventory_or_a_reason() -> None:
    found = GpuProbe().read()
    assert bool(found.gpus) != bool(found.reason)


def test_no_library_is_said_plainly(tmp_path: Path) -> None:
    with looking(tmp_path, None) as look:
        found = look(scenario(gpu()))
    assert (found.gpus, found.reason) == ((), "NVML is not installed: no NVIDIA driver library on this host")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "the NVIDIA driver is not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "no permission on /dev/nvidiactl"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "of different versions: reboot"),
        (pynvml.NVML_ERROR_UNKNOWN, "NVML: "),
    ],
)
def test_each_reason_is_a_sentence(look: Look, error: int, words: str) -> None:
    found = look(scenario(gpu(), error=error))
    assert found.gpus == ()
    assert words in found.reason


def test_a_driver_that_is_loaded_later_is_found(look: Look) -> None:
    assert look(scenario(error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)).gpus == ()
    assert look(scenario(gpu())).driver == "570.1"
    assert look(scenario()).reason == "NVML knows of no GPU"


def test_each_gpu_is_told_in_our_units(look: Look) -> None:
    found = look(scenario(gpu(0, used=3 * GIB), gpu(1, name="NVIDIA H200", cc="9.0", ecc=2, mig=0)))
    first, second = found.gpus
    assert (found.driver, found.reason) == ("570.1", "")
    assert first == Gpu(
        index=0,
        name="NVIDIA GeForce RTX 3070",
        uuid="GPU-0",
        memory_total_bytes=8 * GIB,
        memory_used_bytes=3 * GIB,
        memory_free_bytes=5 * GIB,
        utilisation_percent=7,
        temperature_c=41,
        power_w=75.5,
        power_limit_w=220.0,
        pci="00000000:01:00.0",
        compute_capability="8.6",
    )
    assert (second.index, second.name, second.compute_capability, second.ecc_errors) == (1, "NVIDIA H200", "9.0", 2)


def test_what_a_laptop_does_not_tell_is_left_out(look: Look) -> None:
    found = one(look(scenario(gpu(power=None, limit=None, util=None, temp=None, cc=None))))
    told = (found.power_w, found.power_limit_w, found.utilisation_percent, found.temperature_c)
    assert told == (None, None, None, None)
    assert (found.compute_capability, found.memory_free_bytes, found.problem) == ("", 8 * GIB, "")


def test_a_game_that_takes_six_gigabytes_is_seen_with_its_name(look: Look, tmp_path: Path) -> None:
    (tmp_path / "proc/4711").mkdir(parents=True)
    (tmp_path / "proc/4711/comm").write_text("half-life 3\n")
    text = scenario(gpu(used=7 * GIB), process(0, 4711, 6 * GIB, kind="g"), process(0, 4711, GIB), process(0, 5, None))
    users = one(look(text)).processes
    assert [(user.pid, user.name, user.memory_bytes) for user in users] == [
        (5, "", None),
        (4711, "half-life 3", 6 * GIB),
    ]


def test_whose_processes_are_not_for_our_eyes_is_shown_all_the_same(look: Look) -> None:
    found = one(look(scenario(gpu(0, used=GIB, processes_error=4))))
    assert (found.memory_used_bytes, found.processes, found.problem) == (GIB, (), "")


def test_a_driver_that_is_updated_under_us_says_so_and_is_found_again(look: Look) -> None:
    assert len(look(scenario(gpu(0), gpu(1))).gpus) == 2
    assert "of different versions: reboot" in look(scenario(error=18)).reason
    assert len(look(scenario(gpu(0))).gpus) == 1


def test_a_lost_gpu_stays_in_the_list_with_its_problem_and_nothing_free(look: Look) -> None:
    for lost in (gpu(1, lost=1), gpu(1, memory_error=pynvml.NVML_ERROR_GPU_IS_LOST)):
        healthy, gone = look(scenario(gpu(0), lost)).gpus
        assert (healthy.problem, healthy.memory_free_bytes) == ("", 8 * GIB)
        assert (gone.index, gone.memory_free_bytes) == (1, 0)
        assert gone.problem == "it has fallen off the bus: dmesg | grep -i nvrm"


def test_gpus_come_and_go_between_two_looks(look: Look) -> None:
    both = scenario(gpu(0), gpu(1))
    assert [each.problem for each in look(both).gpus] == ["", ""]
    assert [each.index for each in look(scenario(gpu(0))).gpus] == [0]
    assert [bool(each.problem) for each in look(scenario(gpu(0), gpu(1, lost=1))).gpus] == [False, True]
    assert [each.problem for each in look(both).gpus] == ["", ""]
    assert look(scenario(error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)).reason == "the NVIDIA driver is not loaded"
    assert [each.problem for each in look(both).gpus] == ["", ""]


def test_a_critical_error_is_told_once_and_remembered(look: Look) -> None:
    assert [each.xid for each in look(scenario(gpu(0), gpu(1))).gpus] == [None, None]
    assert [each.xid for each in look(scenario(gpu(0), gpu(1, xid=79))).gpus] == [None, 79]
    assert [each.xid for each in look(scenario(gpu(0), gpu(1))).gpus] == [None, 79]


def test_a_gpu_that_falls_off_the_bus_is_told_with_its_name_and_its_last_words(look: Look) -> None:
    before = look(scenario(gpu(0), gpu(1, name="NVIDIA RTX A2000")))
    found = look(scenario(gpu(0), gpu(1, name="NVIDIA RTX A2000", xid=79, lost=1)))
    gone = found.gpus[1]
    assert (gone.name, gone.uuid, gone.pci) == ("NVIDIA RTX A2000", "GPU-1", before.gpus[1].pci)
    assert (gone.xid, gone.memory_free_bytes, bool(gone.problem)) == (79, 0, True)
    assert found.driver == "570.1"


def test_a_lost_gpu_is_not_taken_for_one_that_has_moved_into_its_place(look: Look) -> None:
    look(scenario(gpu(0), gpu(1)))
    moved, gone = look(scenario(gpu(1), gpu(0, lost=1))).gpus
    assert (moved.uuid, gone.uuid, gone.name) == ("GPU-1", "", "NVIDIA GPU")


def test_an_error_stays_with_its_gpu_when_the_indexes_move(look: Look) -> None:
    look(scenario(gpu(0), gpu(1)))
    assert [each.xid for each in look(scenario(gpu(0), gpu(1, xid=31))).gpus] == [None, 31]
    assert [(each.uuid, each.xid) for each in look(scenario(gpu(1, xid=31))).gpus] == [("GPU-1", 31)]
    assert [each.xid for each in look(scenario(gpu(7), gpu(8), gpu(1, xid=31))).gpus] == [None, None, 31]


def test_a_gpu_that_announces_nothing_has_no_error_and_one_that_fails_often_its_last(look: Look) -> None:
    assert one(look(scenario(gpu(xid=79)))).xid is None  # before anybody watched
    for code in (13, 31, 43):
        assert one(look(scenario(gpu(xid=code)))).xid == code


def test_a_divided_gpu_shows_its_instances_and_takes_no_worker(look: Look) -> None:
    instances = [line("instance", gpu=1, name=f"MIG 1g.{n}", uuid=f"MIG-{n}", total=GIB, used=0) for n in range(2)]
    gpus = look(scenario(gpu(0), gpu(1, mig=1), *instances)).gpus
    assert [(each.index, each.mig, each.parent) for each in gpus] == [
        (0, False, None),
        (1, True, None),
        (2, True, 1),
        (3, True, 1),
    ]
    assert "MIG is on" in gpus[1].problem
    assert [each.memory_free_bytes for each in gpus] == [8 * GIB, 0, 0, 0]
    assert all(each.problem for each in gpus[1:])


async def test_who_look_at_the_same_time_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    looking, most = [0], [0]

    def slow_look(_: Nvml) -> GpuInventory:
        looking[0] += 1
        most[0] = max(most[0], looking[0])
        time.sleep(0.01)
        looking[0] -= 1
        return GpuInventory()

    monkeypatch.setattr(Nvml, "read", slow_look)
    probe = GpuProbe()
    await asyncio.gather(*(probe.inventory() for _ in range(5)))
    assert most == [1]


def test_the_inventory_is_whole_on_the_wire(look: Look) -> None:
    found = look(scenario(gpu(0, ecc=1), process(0, 1, 5)))
    as_sent: Any = json.loads(codec.dump_json(found))
    assert codec.from_dict(GpuInventory, as_sent) == found
