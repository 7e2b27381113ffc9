"""A worker's life, told by systemd: made, limited, asleep, woken, stopped; never two in one place."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest

from rbee.pool_core import unit
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab, network_of

UNIT = "rbee-worker-cpu-0"


@pytest.fixture
def tidy(shared: Lab) -> Iterator[Lab]:
    """The module's host, without workers before and after."""
    yield shared
    for worker in shared.hive_json("worker", "list"):
        shared.hive("worker", "stop", worker["id"], "--yes")
    assert shared.units("rbee-worker-*") == set()


def test_spawn_makes_a_transient_pair_with_the_limit_asked_for(lab: Lab) -> None:
    worker = lab.spawn("smollm2", "--memory", "600M")
    assert worker["id"] == "worker-cpu-0"
    assert worker["state"] == "ready"
    shown = lab.systemctl("show", f"{UNIT}.service", "-p", "Transient,MemoryMax,Slice,DynamicUser,Type").stdout
    assert set(shown.split()) == {
        "Transient=yes",
        f"MemoryMax={600 << 20}",
        "Slice=rbee-workers.slice",
        "DynamicUser=yes",
        "Type=notify",
    }
    assert lab.units(f"{UNIT}.*") == {f"{UNIT}.service", f"{UNIT}.socket"}
    answer = lab.rbee_json(
        "jobs", "submit", "--model", "smollm2", "--prompt", "Say hello.", "--max-tokens", "12", "--ignore-eos"
    )
    assert answer["tokens_out"] == 12
    assert answer["text"].strip()


def test_without_a_limit_the_models_size_makes_one(tidy: Lab) -> None:
    tidy.spawn("tiny")
    limit = int(tidy.show(f"{UNIT}.service", "MemoryMax"))
    assert 100 << 20 < limit < 2 << 30


def test_an_idle_worker_is_no_process_and_the_next_job_wakes_it(tidy: Lab) -> None:
    tidy.spawn("tiny", "--idle", "1")
    tidy.wait_active(f"{UNIT}.service", "inactive")
    assert tidy.pid(f"{UNIT}.service") == 0
    assert tidy.show(f"{UNIT}.socket", "ActiveState") == "active"
    assert [w["state"] for w in tidy.hive_json("worker", "list")] == ["asleep"]
    tidy.systemctl("daemon-reload")  # as any package upgrade does while it sleeps
    tidy.rbee("jobs", "submit", "--model", "tiny", "--prompt", "wake up", "--max-tokens", "4")
    assert "worker.ended" in tidy.host.journal("WORKER=worker-cpu-0")
    assert int(tidy.show(f"{UNIT}.service", "NRestarts")) == 0


def test_a_worker_may_sleep_and_wake_as_often_as_it_likes(tidy: Lab) -> None:
    tidy.spawn("tiny", "--idle", "1")
    for _ in range(unit.START_LIMIT_BURST + 1):
        tidy.wait_active(f"{UNIT}.service", "inactive")
        with network_of(tidy.host):
            assert urlopen("http://127.0.0.1:8001/health", timeout=20).status == 200


def test_a_lazy_worker_is_only_a_socket(tidy: Lab) -> None:
    assert tidy.spawn("tiny", "--lazy")["state"] == "asleep"
    assert tidy.show(f"{UNIT}.service", "ActiveState") == "inactive"
    tidy.rbee("jobs", "submit", "--model", "tiny", "--prompt", "hello", "--max-tokens", "4")
    tidy.wait_active(f"{UNIT}.service")


def test_stop_leaves_no_unit_behind(tidy: Lab) -> None:
    tidy.spawn("tiny")
    tidy.hive("worker", "stop", "worker-cpu-0", "--yes")
    assert tidy.units("rbee-worker-*") == set()
    assert tidy.refused("rbee-hive", "worker", "stop", "worker-cpu-0", "--yes")[1]["code"] == "not_found"


def test_a_name_twice_is_a_conflict(tidy: Lab) -> None:
    tidy.spawn("tiny", "--id", "mine", "--lazy")
    status, error = tidy.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny", "--id", "mine", "--lazy")
    assert (status, error["code"]) == (73, "conflict")
    assert "mine" in error["message"]
    assert [w["id"] for w in tidy.hive_json("worker", "list")] == ["mine"]


def test_a_port_a_stranger_holds_is_skipped(tidy: Lab) -> None:
    with network_of(tidy.host), socket.create_server(("127.0.0.1", 8001)):
        worker = tidy.spawn("tiny", "--lazy")
    assert worker["address"] == "127.0.0.1:8002"


def test_spawns_at_once_share_neither_name_nor_port(tidy: Lab) -> None:
    with ThreadPoolExecutor(4) as side_by_side:
        made = list(side_by_side.map(lambda _: tidy.spawn("tiny", "--lazy"), range(4)))
    assert len({worker["id"] for worker in made}) == 4
    assert len({worker["address"] for worker in made}) == 4
    assert all(worker["state"] == "asleep" for worker in made)


def test_a_restarted_pool_finds_its_workers_again(tidy: Lab) -> None:
    before = tidy.spawn("tiny")
    pid = tidy.pid(f"{UNIT}.service")
    tidy.systemctl("kill", "--signal=KILL", "rbee-pool.service")
    tidy.wait_active("rbee-pool.service")
    after = tidy.hive_json("worker", "status", "worker-cpu-0")
    same = ("id", "model", "backend", "address", "ctx", "slots", "memory_limit_bytes", "state")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert tidy.pid(f"{UNIT}.service") == pid


def test_direct_and_http_say_the_same(tidy: Lab) -> None:
    tidy.spawn("tiny")
    for words in (("worker", "list"), ("models", "list"), ("models", "catalog"), ("gpu", "status")):
        over_http, direct = (
            json.loads(tidy.hive(*words, way, "--format", "json").stdout) for way in ("--http", "--direct")
        )
        _forget_what_moves(over_http)
        _forget_what_moves(direct)
        assert over_http == direct, words
    for words in (("worker", "status", "nobody"), ("models", "info", "nothing")):
        over_http, direct = (tidy.refused("rbee-hive", *words, way) for way in ("--http", "--direct"))
        for _, error in (over_http, direct):
            del error["source"], error["request_id"]  # who spoke, and in which request, is the one difference
        assert over_http == direct


def _forget_what_moves(value: object) -> None:
    for row in value if isinstance(value, list) else [value]:
        if isinstance(row, dict):
            for key in ("memory_current_bytes", "need_bytes", "load_ms", "status", "since_ms"):
                row.pop(key, None)


def test_workers_log_to_the_journal_with_fields(tidy: Lab) -> None:
    tidy.spawn("tiny")
    tidy.rbee("jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "3", "--id", "job-logged")
    assert "worker=worker-cpu-0" in wait_for(
        lambda: tidy.host.journal("JOB=job-logged", "WORKER=worker-cpu-0"), "the job in the worker's log"
    )
    assert tidy.hive_json("worker", "logs", "worker-cpu-0")


def test_drain_finishes_what_runs_and_then_the_worker_is_gone(tidy: Lab) -> None:
    tidy.spawn("tiny")
    tidy.hive("worker", "drain", "worker-cpu-0")
    wait_for(lambda: tidy.units("rbee-worker-*") == set(), "the drained worker to be gone")


def test_a_gpu_that_is_not_there_is_refused_and_never_becomes_cpu(tidy: Lab) -> None:
    status, error = tidy.refused("rbee-hive", "worker", "spawn", "cuda", "--model", "tiny")
    assert (status, error["code"]) == (69, "backend_unavailable")
    assert "cpu" in json.dumps(error)
    assert tidy.units("rbee-worker-*") == set()


def test_more_memory_than_the_host_has_is_refused_with_the_numbers(tidy: Lab) -> None:
    status, error = tidy.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny", "--memory", "30T")
    assert (status, error["code"]) == (75, "insufficient_memory")
    assert error["details"]["needed_bytes"] == 30 << 40
    assert 0 < error["details"]["free_bytes"] < 30 << 40


def test_the_gpu_inventory_is_empty_and_says_why(tidy: Lab) -> None:
    inventory = tidy.hive_json("gpu", "status")
    assert inventory["gpus"] == []
    assert "NVML" in inventory["reason"] or "driver" in inventory["reason"]
