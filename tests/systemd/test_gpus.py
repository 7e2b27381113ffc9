"""The ledger and eviction on a host whose driver is a fake; see ``gpus``."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from rbee.errors import Conflict, InsufficientVram
from tests.assets import tiny_gguf
from tests.assets.nvml import gpu, process
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd import gpus
from tests.systemd.gpus import MIB
from tests.systemd.lab import Lab


@pytest.fixture
def cuda(lab: Lab, tmp_path: Path) -> Lab:
    """A host with one GPU of 800 MiB, on which two small models find room, and three of those."""
    gpus.drive(lab.host, gpu(0, total=800 * MIB))
    gpus.install(lab.host, tmp_path)
    for name in ("one", "two", "three"):
        lab.give_tiny(name)
    return lab


def spawn(lab: Lab, model: str, *argv: str) -> Any:
    return lab.hive_json("worker", "spawn", "cuda", "--model", model, *argv)


def line(lab: Lab, index: int = 0) -> Any:
    """Return the ledger's line of a GPU."""
    return next(each for each in lab.hive_json("status")["devices"] if each["gpu"] == index)


def states(lab: Lab) -> dict[str, str]:
    return {worker["model"]: worker["state"] for worker in lab.rbee_json("pool", "worker", "list")}


def settled(lab: Lab, ready: str) -> bool:
    """Say whether the queen has heard that of three workers this model's and another are ready, the third sleeps."""
    found = states(lab)
    return found.get(ready) == "ready" and sorted(found.values()) == ["asleep", "ready", "ready"]


def submit(lab: Lab, model: str, *argv: str) -> Any:
    return lab.rbee_json("jobs", "submit", "--model", model, "--prompt", "x", "--max-tokens", "4", *argv)


def test_a_worker_is_predicted_reserved_measured_and_believed(cuda: Lab) -> None:
    before = next(
        need for need in cuda.hive_json("status")["needs"] if (need["model"], need["backend"]) == ("one", "cuda")
    )
    assert not before["measured"]
    worker = spawn(cuda, "one")
    assert (worker["gpu"], worker["load_ms"] > 0) == (0, True)
    wait_for(lambda: line(cuda)["foreign_bytes"] == 0, "the ledger to know its worker", 10)
    shown = cuda.hive_json("gpu", "status")["gpus"][0]
    assert [user["worker"] for user in shown["processes"]] == [worker["id"]]
    after = next(
        need for need in cuda.hive_json("status")["needs"] if (need["model"], need["backend"]) == ("one", "cuda")
    )
    assert (after["measured"], after["bytes"]) == (True, int(350 * MIB * 1.05))
    assert line(cuda)["free_bytes"] == 800 * MIB - after["bytes"]


def test_a_game_is_counted_and_a_worker_refused_with_the_numbers(cuda: Lab) -> None:
    gpus.drive(cuda.host, gpu(0, total=800 * MIB, used=600 * MIB), process(0, 1, 600 * MIB, kind="g"))
    code, error = cuda.refused("rbee-hive", "worker", "spawn", "cuda", "--model", "one")
    assert (code, error["code"]) == (75, InsufficientVram.code)
    assert error["details"]["free_bytes"] == 200 * MIB
    assert "others use 600.0 MiB, workers 0 B" in error["message"]
    assert cuda.units("rbee-worker-*") == set()
    gpus.drive(cuda.host, gpu(0, total=800 * MIB))
    assert spawn(cuda, "one")["state"] == "ready"


def test_a_gpu_that_falls_off_the_bus_takes_nothing_and_says_so(cuda: Lab) -> None:
    gpus.drive(cuda.host, gpu(0, lost=1))
    _, error = cuda.refused("rbee-hive", "worker", "spawn", "cuda", "--model", "one")
    assert (error["code"], "fallen off the bus" in error["message"]) == (InsufficientVram.code, True)
    assert "fallen off the bus" in cuda.hive("gpu", "status").stdout
    gpus.drive(cuda.host, gpu(0, total=800 * MIB))
    assert spawn(cuda, "one")["state"] == "ready"


def test_a_model_too_large_for_each_is_split_by_what_is_free_and_its_unit_has_both_devices(cuda: Lab) -> None:
    cuda.give_tiny("long", layers=40, context_tokens=32_768)
    # What the driver says of a worker is learnt and takes the place of what was expected: here the two are near.
    cards = [gpu(0, total=1092 * MIB), gpu(1, total=1172 * MIB), gpu(2, total=100 * MIB)]
    gpus.drive(cuda.host, *cards, workers_mib=1000)
    code, error = cuda.refused(
        "rbee-hive", "worker", "spawn", "cuda", "--model", "long", "--ctx", "32768", "--gpu", "1"
    )
    assert (code, error["code"], error["details"]["free_bytes"]) == (75, InsufficientVram.code, 1172 * MIB)
    assert error["hint"].startswith(
        "rbee-hive worker spawn cuda --model long --ctx 32768 would fit; "
        "rbee-hive worker spawn cuda --model long --gpu 1 --ctx 16384 --slots 1 would fit; "
    )
    worker = spawn(cuda, "long", "--ctx", "32768")
    assert (worker["gpus"], worker["split"]) == ([0, 1], [48, 52])
    unit = worker["unit"]
    assert "--gpu=0,1 --split=48,52" in cuda.show(unit, "ExecStart")
    assert "backend=cuda gpu=0,1 need_bytes=" in cuda.host.journal("-u", "rbee-pool.service", "-g", "worker.made")
    allowed = cuda.show(unit, "DeviceAllow")
    assert "/dev/nvidia0 " in allowed and "/dev/nvidia1 " in allowed and "/dev/nvidia2 " not in allowed
    wait_for(lambda: line(cuda, 0)["foreign_bytes"] == line(cuda, 1)["foreign_bytes"] == 0, "the ledger", 10)
    used = [line(cuda, index)["reserved_bytes"] for index in range(3)]
    assert used[0] < used[1] and used[2] == 0 and sum(used) >= worker["need_bytes"] * 0.99
    assert submit(cuda, "long", "--backend", "cuda")["state"] == "completed"


def test_a_hot_gpu_gets_nothing_new_until_it_has_cooled_down(cuda: Lab) -> None:
    cuda.host.write("/etc/rbee/rbee.toml", f'[pool]\ngpu_limit_c = 80\n[worker]\nexec = "{gpus.PROGRAM}"\n')
    cuda.systemctl("restart", "rbee-pool.service")
    gpus.drive(cuda.host, gpu(0, total=800 * MIB, temp=85))
    for way in ((), ("--direct",)):
        code, error = cuda.refused("rbee-hive", "worker", "spawn", "cuda", "--model", "one", *way)
        assert (code, error["code"]) == (75, "gpu_too_hot")
        assert "gpu 0: it is 85 °C hot, no worker is started above 80" in error["message"]
    assert " hot" in cuda.hive("gpu", "status").stdout
    job = submit(cuda, "one", "--backend", "cuda", "--detach")["id"]
    wait_for(lambda: "it is 85 °C hot" in cuda.rbee_json("jobs", "status", job)["reason"], "the reason", 10)
    gpus.drive(cuda.host, gpu(0, total=800 * MIB, temp=70))
    wait_for(lambda: cuda.rbee_json("jobs", "status", job)["state"] == "completed", "the job", 30)


def test_two_spawns_at_once_do_not_get_the_same_memory(cuda: Lab) -> None:
    gpus.drive(cuda.host, gpu(0, total=600 * MIB))
    done: list[int] = []
    threads = [
        threading.Thread(
            target=lambda model=model, way=way: done.append(
                cuda.hive("worker", "spawn", "cuda", "--model", model, *way, check=False).returncode
            )
        )
        for model, way in (("one", ()), ("two", ("--direct",)), ("three", ()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * PATIENCE)
    assert sorted(done) == [0, 75, 75]
    wait_for(lambda: list(states(cuda).values()) == ["ready"], "the queen to hear of it", 10)


def test_an_idle_worker_goes_to_sleep_for_another_model_and_comes_back(cuda: Lab) -> None:
    for model in ("one", "two"):
        assert submit(cuda, model)["state"] == "completed"
    wait_for(lambda: states(cuda) == {"one": "ready", "two": "ready"}, "the queen to hear of them")
    assert submit(cuda, "three", "--id", "pushy")["state"] == "completed"
    wait_for(lambda: settled(cuda, "three"), "one of the others to sleep")
    [asleep] = [model for model, state in states(cuda).items() if state == "asleep"]
    assert submit(cuda, asleep)["state"] == "completed"
    wait_for(lambda: settled(cuda, asleep), "it to be ready, and another to sleep")
    said = cuda.rbee("jobs", "explain", "pushy").stdout
    assert "waited: making room for three on gpu 0 of" in said
    assert "started a worker of three on gpu 0 of" in cuda.rbee("workers", "explain").stdout
    assert "evicted for three: it had " in cuda.rbee("workers", "explain").stdout


def test_one_that_is_pinned_stays_and_the_job_says_for_whom_it_waits(cuda: Lab) -> None:
    gpus.drive(cuda.host, gpu(0, total=600 * MIB))
    worker = spawn(cuda, "one", "--pin")
    code, error = cuda.refused("rbee-hive", "worker", "evict", worker["id"])
    assert (code, error["code"]) == (73, Conflict.code)
    job = submit(cuda, "two", "--backend", "cuda", "--detach")["id"]
    wait_for(lambda: "is pinned" in cuda.rbee_json("jobs", "status", job)["reason"], "the reason", 10)
    cuda.hive("worker", "stop", worker["id"], "--yes")
    wait_for(lambda: cuda.rbee_json("jobs", "status", job)["state"] == "completed", "the job", 30)


# What the owner says of a model

DECLARED = """
[worker]
exec = "{program}"
[models.chat]
path = "/srv/chat.gguf"
backend = "cuda"
gpu = 1
[models.low]
path = "/srv/low.gguf"
backend = "cuda"
gpu = 1
priority = -5
[models.more]
path = "/srv/more.gguf"
backend = "cuda"
gpu = 1
"""


def test_models_go_where_their_owner_wants_them_and_those_of_lower_priority_make_room(lab: Lab, tmp_path: Path) -> None:
    """GPU 0 would have room for all of them; GPU 1 has it for two. ``chat`` is idle for longer than ``low``."""
    gpus.drive(lab.host, gpu(0, total=8000 * MIB), gpu(1, total=900 * MIB))
    gpus.install(lab.host, tmp_path)
    for seed, name in enumerate(("chat", "low", "more")):
        tiny_gguf(lab.host.root / f"srv/{name}.gguf", seed=seed)
    lab.host.write("/etc/rbee/rbee.toml", DECLARED.format(program=gpus.PROGRAM))
    lab.systemctl("reload", "rbee-pool.service")
    wait_for(lambda: len(lab.hive_json("models", "list", "--http")) >= 3, "the models to be there")
    assert {(each["backend"], each["gpu"]) for each in lab.hive_json("status")["needs"] if each["model"] == "chat"} == {
        ("cuda", 1)
    }
    for model in ("chat", "low"):
        assert submit(lab, model)["tokens_out"] == 4
    job = submit(lab, "more")
    wanted = {"chat": "ready", "low": "asleep", "more": "ready"}
    wait_for(lambda: states(lab) == wanted, "the queen to hear of it")
    assert {worker["gpu"] for worker in lab.rbee_json("pool", "worker", "list")} == {1}
    told = json.dumps(lab.rbee_json("jobs", "explain", job["id"])["decisions"])
    assert "has priority -5" in told

    code, error = lab.refused("rbee", "jobs", "submit", "--model", "chat", "--prompt", "x", "--backend", "cpu")
    assert (code, error["code"]) == (75, "no_capacity")
    assert "has it for cuda, gpu 1 alone" in error["message"]
    assert lab.spawn("chat", "--id", "by-hand")["backend"] == "cpu"
