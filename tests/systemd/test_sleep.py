"""What a host finds when it wakes up: all its GPUs, or not. FAKE are the GPUs (see ``gpus``) and the sleep itself."""

from pathlib import Path
from typing import Any

import pytest

from tests.assets.nvml import gpu
from tests.rig.waiting import wait_for
from tests.systemd import gpus, sleeping
from tests.systemd.gpus import MIB
from tests.systemd.lab import Lab

LOST = "gpu 1 (NVIDIA GeForce RTX 3070): it has fallen off the bus"
BOTH = (gpu(0, total=800 * MIB), gpu(1, total=800 * MIB))


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> Lab:
    """A host with two GPUs and a worker on each."""
    gpus.drive(lab.host, *BOTH)
    gpus.install(lab.host, tmp_path)
    sleeping.prepare(lab.host)
    lab.give_tiny()
    for number in ("0", "1"):
        lab.hive("worker", "spawn", "cuda", "--model", "tiny", "--gpu", number, "--id", f"worker-cuda-{number}")
    return lab


def reason(lab: Lab) -> Any:
    return lab.hive_json("status")["drain_reason"]


def workers(lab: Lab) -> dict[str, int]:
    return {worker["id"]: worker["pid"] for worker in lab.hive_json("worker", "list")}


def test_all_gpus_are_asked_before_work_is_taken_again(pair: Lab) -> None:
    before = workers(pair)
    with sleeping.asleep(pair.host):
        assert reason(pair) == "sleep"
        _, error = pair.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny")
        assert (error["code"], "its host is going to sleep" in error["message"]) == ("shutting_down", True)
        assert "draining: its host is going to sleep" in pair.show("rbee-pool.service", "StatusText")
    wait_for(lambda: reason(pair) is None, "the pool to take work", 20)
    assert "gpus_missing=0" in pair.host.journal("-u", "rbee-pool.service", "-b", "--grep", "pool.back")
    assert workers(pair) == before


def test_a_gpu_that_is_lost_in_a_sleep_takes_nothing_and_its_worker_is_ended(pair: Lab) -> None:
    kept = workers(pair)["worker-cuda-0"]
    with sleeping.asleep(pair.host):
        gpus.drive(pair.host, BOTH[0], gpu(1, lost=1))
    wait_for(lambda: reason(pair) is None, "the pool to take work", 30)
    wait_for(lambda: workers(pair) == {"worker-cuda-0": kept}, "the other worker to be gone", 30)
    assert "gpu 1: nothing, it has fallen off the bus" in pair.hive("status").stdout
    wait_for(lambda: LOST in pair.show("rbee-pool.service", "StatusText"), "the status line", 10)
    assert LOST in pair.host.journal("-u", "rbee-pool.service", "-b", "--grep", "gpu.missing")
    _, error = pair.refused("rbee-hive", "worker", "status", "worker-cuda-1")
    assert error["code"] == "not_found"
    assert error["message"].startswith(f"worker worker-cuda-1 lost its GPU: {LOST}")
    assert pair.hive_json("worker", "spawn", "cuda", "--model", "tiny", "--gpu", "0", "--id", "more")["gpu"] == 0


def test_a_gpu_that_is_not_even_listed_any_more_is_still_spoken_of(pair: Lab) -> None:
    with sleeping.asleep(pair.host):
        gpus.drive(pair.host, BOTH[0])
    wait_for(lambda: reason(pair) is None, "the pool to take work", 30)
    assert "gpu 1: nothing, it did not come back after this host slept" in pair.hive("status").stdout
    wait_for(lambda: list(workers(pair)) == ["worker-cuda-0"], "its worker to be gone", 30)
    gpus.drive(pair.host, *BOTH)
    assert "did not come back" not in pair.hive("status").stdout
