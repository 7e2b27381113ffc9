"""The command lines on a real host: direct and over HTTP the same, and the daemons' own commands."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rbee.wire.words import bytes_text
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.lab import Lab

NUMBERS_THAT_MOVE = {
    "at_ms",
    "memory_current_bytes",
    "memory_available_bytes",
    "disk_free_bytes",
    "free_bytes",
    "foreign_bytes",
    "reserved_bytes",
    "url",
    # of a worker, which may be measured anew, and a page larger
    "need_bytes",
    "bytes",
    "measured",
    "load_ms",
}
READS = (
    ("status",),
    ("worker", "list"),
    ("worker", "status", "worker-cpu-0"),
    ("models", "list"),
    ("models", "catalog"),
    ("models", "info", "tiny"),
    ("models", "verify", "tiny"),
    ("gpu", "status"),
)
REFUSALS = (
    (66, "not_found", ("worker", "status", "nobody")),
    (66, "not_found", ("worker", "stop", "nobody", "--yes")),
    (66, "not_found", ("worker", "logs", "nobody")),
    (66, "model_not_found", ("models", "info", "hf:org/none")),
    (66, "model_not_found", ("worker", "spawn", "cpu", "--model", "none")),
    (69, "backend_unavailable", ("worker", "spawn", "cuda", "--model", "tiny")),
    (73, "conflict", ("worker", "spawn", "cpu", "--model", "tiny", "--id", "worker-cpu-0")),
    (73, "conflict", ("models", "delete", "tiny", "--yes")),
    (75, "insufficient_memory", ("worker", "spawn", "cpu", "--model", "tiny", "--memory", "30T")),
    (64, "invalid_request", ("worker", "spawn", "cpu", "--model", "tiny", "--slots", "0")),
)


@pytest.fixture(scope="module")
def with_worker(shared: Lab) -> Iterator[Lab]:
    shared.spawn("tiny", "--id", "worker-cpu-0", "--idle", "3600")
    yield shared
    shared.hive("worker", "stop", "worker-cpu-0", "--yes")


def still(value: Any) -> Any:
    """Return ``value`` without what another moment changes."""
    match value:
        case dict():
            return {key: still(item) for key, item in value.items() if key not in NUMBERS_THAT_MOVE}
        case list():
            return [still(item) for item in value]
    return value


@pytest.mark.parametrize("argv", READS, ids=" ".join)
def test_direct_and_http_answer_the_same(with_worker: Lab, argv: tuple[str, ...]) -> None:
    direct, http = (still(with_worker.hive_json(*argv, way)) for way in ("--direct", "--http"))
    assert direct == http
    assert direct


@pytest.mark.parametrize(("code", "name", "argv"), REFUSALS, ids=[" ".join(argv) for _, _, argv in REFUSALS])
def test_direct_and_http_refuse_the_same(with_worker: Lab, code: int, name: str, argv: tuple[str, ...]) -> None:
    said = []
    for way in ("--direct", "--http"):
        exit_code, error = with_worker.refused("rbee-hive", *argv, way)
        assert (exit_code, error["code"]) == (code, name)
        free = bytes_text(error["details"].get("free_bytes", 0))
        said.append((error["message"].replace(free, "…"), error["hint"]))
    assert said[0] == said[1]


@pytest.mark.parametrize(("made", "ended"), [("--direct", "--http"), ("--http", "--direct")])
def test_what_one_way_made_the_other_ends(shared: Lab, made: str, ended: str) -> None:
    worker = shared.hive_json("worker", "spawn", "cpu", "--model", "tiny", "--id", "both", made)
    assert worker["state"] == "ready"
    wait_for(lambda: "ready" in shared.hive("worker", "logs", "both", ended).stdout, "journald to have taken it in")
    shared.hive("worker", "stop", "both", "--yes", ended)
    assert shared.units("rbee-worker-both.*") == set()


def test_draining_is_one_state_whoever_sets_it(shared: Lab) -> None:
    shared.hive("drain", "--direct")
    assert shared.hive_json("status", "--http")["draining"] is True
    assert shared.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny", "--http")[0] == 75
    shared.hive("undrain", "--http")
    assert shared.hive_json("status", "--direct")["draining"] is False


def test_a_log_is_followed_until_somebody_ends_it(with_worker: Lab) -> None:
    follow = ["timeout", "--signal=INT", str(3 * PATIENCE), "rbee-hive", "worker", "logs", "worker-cpu-0", "--follow"]
    done = with_worker.host.run(follow, check=False)
    assert "worker.ready" in done.stdout or "ready" in done.stdout
    assert "Traceback" not in done.stderr
    entries = with_worker.host.run([*follow, "--format=json"], check=False).stdout.splitlines()
    assert {json.loads(line)["fields"].get("worker") for line in entries} >= {"worker-cpu-0"}


@pytest.mark.parametrize(("program", "noun", "unit"), [
    ("rbee-hive", "daemon", "rbee-pool"), ("rbee", "orchestrator", "rbee-queen")
])  # fmt: skip
def test_a_daemon_is_stopped_started_restarted_and_asked(shared: Lab, program: str, noun: str, unit: str) -> None:
    def daemon(verb: str) -> Any:
        return json.loads(shared.host.run([program, noun, verb, "--format=json"]).stdout)

    assert daemon("stop")["id"] == unit
    assert (daemon("status")["state"], daemon("status")["socket"]) == ("inactive", "inactive")
    assert daemon("start")["done"] == f"{unit} started"
    assert (daemon("status")["state"], daemon("status")["socket"]) == ("active", "active")
    before = daemon("status")["pid"]
    daemon("restart")
    after = daemon("status")
    assert after["pid"] not in (None, before)
    assert after["status"]
    assert any("daemon.ready" in entry["message"] for entry in daemon("logs"))


def test_an_answer_goes_on_over_the_death_of_the_queen_without_gap_or_double(shared: Lab) -> None:
    shared.spawn("smollm2", "--id", "slow")
    asked = ("jobs", "submit", "--model", "smollm2", "--prompt", "Once upon a time", "--raw")
    asked += ("--max-tokens", "400", "--ignore-eos", "--temperature", "0", "--seed", "1")
    whole = shared.rbee_json(*asked)
    shared.limit_cpu("20%", "rbee-worker-slow.service")  # else it is over before she is killed
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(shared.rbee_json, *asked, "--id", "cut")
        wait_for(lambda: _running(shared, "cut"), "the job to run", 30)
        shared.systemctl("kill", "--signal=KILL", "rbee-queen.service")
        killed_ms = time.time() * 1000
        shared.limit_cpu("", "rbee-worker-slow.service")
        cut = answering.result(180 * PATIENCE)
    assert cut["finished_ms"] > killed_ms
    assert cut["tokens_out"] == whole["tokens_out"]
    assert cut["text"] == whole["text"]
    shared.hive("worker", "stop", "slow", "--yes")


def _running(lab: Lab, job: str) -> bool:
    """Say whether it does; to start a command that asks takes as long as a good part of the answer."""
    with lab.network(), contextlib.closing(http.client.HTTPConnection("127.0.0.1", 8080, timeout=20)) as connection:
        connection.request("GET", f"/v2/tasks/{job}", headers={"Authorization": f"Bearer {lab.token}"})
        return bool(json.load(connection.getresponse()).get("state") == "running")


def test_the_keeper_sees_and_steers_the_pool(with_worker: Lab) -> None:
    (pool,) = with_worker.rbee_json("pool", "list")
    assert with_worker.rbee_json("pool", "status", pool["id"])["workers"][0]["id"] == "worker-cpu-0"
    assert [worker["id"] for worker in with_worker.rbee_json("pool", "worker", "list")] == ["worker-cpu-0"]
    with_worker.rbee("pool", "remove", pool["id"], "--yes")
    assert with_worker.rbee_json("pool", "register", pool["id"], "--url", pool["url"])["id"] == pool["id"]
    assert with_worker.refused("rbee", "pool", "register", "other", "--url", pool["url"])[0] == 73
    tiny = next(entry for entry in with_worker.rbee_json("pool", "models", "catalog") if entry["id"] == "tiny")
    assert tiny["pools"] == [pool["id"]]
