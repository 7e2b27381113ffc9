"""The ledger of a host without a GPU: over its memory, and what of that its workers may have."""

import json
from typing import Any

import pytest

from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab

MIB = 1 << 20


@pytest.fixture
def small(lab: Lab) -> Lab:
    """All workers of this host together may have 300 MiB, as after ``systemctl edit rbee-workers.slice``."""
    lab.give_tiny()
    lab.systemctl("set-property", "--runtime", "rbee-workers.slice", "MemoryMax=300M")
    lab.systemctl("start", "rbee-workers.slice")
    return lab


def memory(lab: Lab) -> Any:
    return next(each for each in lab.hive_json("status")["devices"] if each["gpu"] is None)


def test_the_limit_of_all_workers_is_what_there_is_to_give(small: Lab) -> None:
    assert memory(small)["total_bytes"] == 300 * MIB
    code, error = small.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny", "--memory", "400M")
    assert (code, error["code"]) == (75, "insufficient_memory")
    assert error["details"]["free_bytes"] == 300 * MIB < error["details"]["needed_bytes"]
    worker = small.spawn("tiny")
    wait_for(lambda: memory(small)["reserved_bytes"] > 0, "the ledger to know it", 10)
    line = memory(small)
    assert line["free_bytes"] <= 300 * MIB - worker["need_bytes"] * 0.8
    error = spawned_until_refused(small)
    assert error["code"] == "insufficient_memory"
    assert error["details"]["free_bytes"] < error["details"]["needed_bytes"]
    assert error["hint"].startswith("rbee-hive worker list shows who has the memory")
    assert {each["state"] for each in small.hive_json("worker", "list")} == {"ready"}, "and nobody was killed for it"


def spawned_until_refused(lab: Lab) -> dict[str, Any]:
    """Spawn workers while there is room, and return the error that there is none; 300 MiB are no room for ten."""
    for _ in range(10):
        done = lab.hive("worker", "spawn", "cpu", "--model", "tiny", "--format", "json", check=False)
        if done.returncode:
            error: dict[str, Any] = json.loads(done.stderr.strip().splitlines()[-1])["error"]
            return error
    raise AssertionError("ten workers found room in 300 MiB")


def test_what_a_worker_took_is_remembered_when_the_pool_starts_anew(small: Lab) -> None:
    small.spawn("tiny")
    key = ("tiny", "cpu")

    def need() -> Any:
        return next(each for each in small.hive_json("status")["needs"] if (each["model"], each["backend"]) == key)

    wait_for(lambda: need()["measured"], "its need to be measured", 10)
    known = need()
    assert 30 * MIB < known["bytes"] < 110 * MIB and known["load_ms"] > 0
    small.systemctl("restart", "rbee-pool.service")
    assert known["bytes"] <= need()["bytes"] < known["bytes"] * 1.1, "it may have grown by a page since"
    small.hive("worker", "stop", "worker-cpu-0", "--yes")
    after = need()
    assert after["measured"] and known["bytes"] <= after["bytes"] < known["bytes"] * 1.1
