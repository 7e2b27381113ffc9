"""Codes of SPEC section 4 that other modules here do not meet, each provoked for real, with its exit status."""

import json

import pytest

from tests.systemd.lab import MODELS, Lab


def test_a_flipped_byte_is_a_checksum_mismatch(shared: Lab) -> None:
    shared.give_tiny("flipped", seed=7)
    path = shared.host.root / MODELS.lstrip("/") / "flipped.gguf"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(bytes(data))
    done = shared.hive("models", "verify", "flipped", "--format", "json", check=False)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (69, "checksum_mismatch")
    assert error["details"]["sha256"] != error["details"]["expected_sha256"]
    assert json.loads(done.stdout)["ok"] is False, "the verdict is a document as well"
    shared.hive("models", "delete", "flipped", "--yes")


def test_no_network_is_a_failed_download(shared: Lab) -> None:
    status, error = shared.refused("rbee-hive", "models", "download", "qwen")
    assert (status, error["code"]) == (69, "download_failed")
    assert shared.refused("rbee-hive", "models", "info", "qwen")[1]["code"] == "model_not_found"


def test_a_draining_pool_is_shutting_down(shared: Lab) -> None:
    shared.hive("drain")
    try:
        status, error = shared.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny")
        assert (status, error["code"]) == (75, "shutting_down")
    finally:
        shared.hive("undrain")
    assert shared.spawn("tiny", "--lazy")["state"] == "asleep"
    shared.hive("worker", "stop", "worker-cpu-0", "--yes")


def test_a_pool_that_is_not_there_is_unreachable(shared: Lab) -> None:
    status, error = shared.refused("rbee", "pool", "register", "ghost", "--url", "http://127.0.0.1:1")
    assert (status, error["code"]) == (69, "pool_unreachable")
    assert "ghost" not in {pool["id"] for pool in shared.rbee_json("pool", "list")}


def test_a_model_in_use_is_not_deleted(shared: Lab) -> None:
    shared.spawn("tiny", "--lazy")
    status, error = shared.refused("rbee-hive", "models", "delete", "tiny", "--yes")
    assert (status, error["code"]) == (73, "conflict")
    shared.hive("worker", "stop", "worker-cpu-0", "--yes")


def test_nothing_is_destroyed_without_a_word(shared: Lab) -> None:
    status, error = shared.refused("rbee-hive", "models", "delete", "tiny")
    assert (status, error["code"]) == (64, "invalid_request")
    assert "--yes" in error["hint"]


def test_the_same_id_with_another_body_is_a_conflict(shared: Lab) -> None:
    submit = ("jobs", "submit", "--model", "tiny", "--id", "once", "--max-tokens", "3", "--prompt")
    first = shared.rbee_json(*submit, "abc")
    assert shared.rbee_json(*submit, "abc")["id"] == first["id"]
    status, error = shared.refused("rbee", *submit, "something else")
    assert (status, error["code"]) == (73, "conflict")
    shared.hive("worker", "stop", "worker-cpu-0", "--yes")


@pytest.fixture
def strict(lab: Lab) -> Lab:
    """A host whose queue holds nobody."""
    lab.host.write("/etc/rbee/rbee.toml", "[queen]\nqueue_capacity = 0\n")
    return lab


def test_no_place_in_the_queue_is_queue_full(strict: Lab) -> None:
    status, error = strict.refused("rbee", "jobs", "submit", "--model", "smollm2", "--prompt", "hello")
    assert (status, error["code"]) == (75, "queue_full")
    assert error["details"]["retry_after_s"] >= 1


def test_a_deadline_ends_the_work_and_says_timeout(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "4096")
    submit = (
        "jobs",
        "submit",
        "--model",
        "smollm2",
        "--raw",
        "--prompt",
        "Once",
        "--max-tokens",
        "3000",
        "--ignore-eos",
        "--id",
        "late",
    )
    done = lab.rbee(*submit, "--deadline", "2", check=False)
    assert done.returncode == 75
    assert lab.rbee_json("jobs", "status", "late")["error"]["code"] == "timeout"


def test_a_deadline_before_the_likely_start_is_unmet(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "4096", "--slots", "1")
    submit = ("jobs", "submit", "--model", "smollm2", "--raw", "--prompt", "Once", "--ignore-eos", "--max-tokens")
    lab.rbee(*submit, "20")  # so that it is known how long one takes
    lab.rbee(*submit, "3000", "--id", "long", "--detach")
    status, error = lab.refused("rbee", *submit, "20", "--deadline", "0.001", "--id", "hasty")
    assert (status, error["code"]) == (64, "deadline_unmet")
    assert error["details"]["predicted_start_ms"] > error["details"]["deadline_ms"] == 1
    assert lab.refused("rbee", "jobs", "status", "hasty")[1]["code"] == "not_found"
    lab.rbee("jobs", "cancel", "long")


def test_no_port_left_is_no_capacity(lab: Lab) -> None:
    lab.host.write("/etc/rbee/rbee.toml", '[pool]\nworker_ports = "8001-8001"\n')
    lab.spawn("smollm2", "--lazy")
    status, error = lab.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "smollm2")
    assert (status, error["code"]) == (75, "no_capacity")
    assert "worker_ports" in error["hint"]
    assert [worker["id"] for worker in lab.hive_json("worker", "list")] == ["worker-cpu-0"]
