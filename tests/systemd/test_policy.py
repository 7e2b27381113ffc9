"""The owner's policy in a real queen, under the sandbox of her unit: the examples, each action, a record, and abuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.assets.nvml import GIB, gpu
from tests.rig.waiting import wait_for
from tests.systemd import gpus
from tests.systemd.lab import Lab

EXAMPLES, RECORD = "/usr/local/share/rbee/policies", "/var/lib/rbee-queen/decisions"
QUEEN = "rbee-queen.service"

BY_SESSION = """
def decide(ctx):
    mine = [worker for worker in ctx.workers if worker.model == ctx.job.model]
    if ctx.job.session == "held":
        return wait("as its owner wishes")
    if ctx.job.session == "second":
        if len(mine) == 1:
            return start_worker(ctx.pools[0], "cuda", gpu = 1)
        return dispatch(mine[-1]) if mine[-1].state == "ready" else wait("it loads")
    if ctx.job.session == "evicts":
        others = [worker for worker in ctx.workers if worker.state == "ready" and worker.model != ctx.job.model]
        return evict_worker(others[0]) if others else None
    if ctx.job.session == "last" and mine:
        return dispatch(mine[-1])
    return None
"""
GREEDY = "def decide(ctx):\n    return wait('x' * (ctx.now_ms // 1000))\n"


def steer(lab: Lab, script: str, more: str = "") -> None:
    """Name a policy, or write it and name it, and have the queen read it; as others do it, by a reload."""
    if not script.startswith("/"):
        lab.host.run(["install", "-d", "/etc/rbee/policies"])
        lab.host.write("/etc/rbee/policies/mine.star", script)
        script = "/etc/rbee/policies/mine.star"
    lab.host.write("/etc/rbee/rbee.toml", f'[queen]\npolicy = "{script}"\n{more}')
    lab.systemctl("start", QUEEN)
    before = count(lab, "config.re")
    lab.systemctl("reload", QUEEN)
    wait_for(lambda: count(lab, "config.re") > before, "the queen to read it", 10)


def count(lab: Lab, event: str) -> int:
    return lab.host.journal("-u", QUEEN).count(event)


def submit(lab: Lab, *argv: str) -> str:
    job: str = lab.rbee_json("jobs", "submit", "--prompt", "x", "--max-tokens", "4", "--detach", *argv)["id"]
    return job


def run(lab: Lab, *argv: str) -> str:
    """Return the worker that the job ran on."""
    job = submit(lab, *argv)
    wait_for(lambda: lab.rbee_json("jobs", "status", job)["state"] == "completed", "the job to end", 30)
    worker: str = lab.rbee_json("jobs", "status", job)["worker"]
    return worker


def reason(lab: Lab, job: str) -> str:
    said: str = lab.rbee_json("jobs", "status", job)["reason"]
    return said


def test_the_night_policy_wakes_nobody_for_a_batch_job_and_is_replayed_from_the_record(lab: Lab) -> None:
    model = lab.give_tiny()
    steer(lab, f"{EXAMPLES}/night-batch.star", f'record = "{RECORD}"\n')
    later = submit(lab, "--model", model, "--priority", "batch")
    wait_for(lambda: reason(lab, later) == "it is for later: no worker of tiny is awake", "its reason", 10)
    assert lab.units("rbee-worker-*") == set()
    assert "the policy decided so; the built-in: start_worker" in lab.rbee("jobs", "explain", later).stdout
    worker = run(lab, "--model", model)
    wait_for(lambda: lab.rbee_json("jobs", "status", later)["state"] == "completed", "the batch job", 20)
    assert lab.rbee_json("jobs", "status", later)["worker"] == worker
    rows = [json.loads(line) for line in lab.host.run(["cat", RECORD]).stdout.splitlines()]
    decided = [row["decision"]["action"] for row in rows if row["context"]["job"]["id"] == later]
    assert (decided[0], decided[-1], set(decided[1:-1]) - {"wait"}) == ("wait", "dispatch", set())
    again = lab.rbee_json("policy", "test", f"{EXAMPLES}/night-batch.star", "--record", RECORD)
    assert (again["decisions"], again["differences"]) == (len(rows), [])
    other = lab.rbee_json("policy", "test", f"{EXAMPLES}/cool-gpus.star", "--record", RECORD)
    assert [each["was"].partition(":")[0] for each in other["differences"]] == ["wait"]


def test_each_action_does_what_it_says(lab: Lab, tmp_path: Path) -> None:
    gpus.drive(lab.host, gpu(0, total=GIB), gpu(1, total=GIB))
    gpus.install(lab.host, tmp_path)
    for model in ("one", "two"):
        lab.give_tiny(model)
    steer(lab, BY_SESSION)
    held = submit(lab, "--model", "one", "--session", "held")
    wait_for(lambda: reason(lab, held) == "as its owner wishes", "its reason", 10)
    first = run(lab, "--model", "one")
    assert run(lab, "--model", "one", "--session", "last") == first
    second = run(lab, "--model", "one", "--session", "second")
    assert [each["gpu"] for each in workers(lab, "one")] == [0, 1]
    assert run(lab, "--model", "one", "--session", "last") == second != first
    assert lab.rbee_json("jobs", "status", held)["state"] == "queued", "all that time, and it is not lost"
    lab.rbee("jobs", "cancel", held)
    run(lab, "--model", "two", "--session", "evicts")
    assert {each["state"] for each in workers(lab, "one")} == {"asleep"}


def workers(lab: Lab, model: str) -> list[Any]:
    listed = lab.rbee_json("pool", "worker", "list")
    return sorted((each for each in listed if each["model"] == model), key=lambda each: str(each["id"]))


def test_a_greedy_policy_costs_a_decision_and_a_wrong_one_is_not_taken(lab: Lab) -> None:
    model = lab.give_tiny()
    steer(lab, GREEDY)
    queen = lab.pid(QUEEN)
    job = submit(lab, "--model", model)
    wait_for(lambda: lab.rbee_json("jobs", "status", job)["state"] == "completed", "the built-in to decide", 30)
    assert "the built-in decided: " in lab.rbee("jobs", "explain", job).stdout
    assert "wanted more than 256.0 MiB of memory" in lab.rbee("jobs", "explain", job).stdout
    assert "wanted more than 256.0 MiB of memory" in lab.host.journal("-u", QUEEN, "-g", "policy.failed")
    wait_for(lambda: "256.0 MiB" in lab.show(QUEEN, "StatusText"), "systemctl status to show it", 15)
    steer(lab, "def decide(ctx):\n    return nonsense\n")
    assert "Variable `nonsense` not found" in lab.host.journal("-u", QUEEN, "-g", "config.rejected")
    steer(lab, BY_SESSION)
    wait_for(lambda: "256.0 MiB" not in lab.show(QUEEN, "StatusText"), "systemctl status to be calm again", 15)
    assert lab.pid(QUEEN) == queen
    lab.systemctl("stop", QUEEN)
    assert lab.host.run(["pgrep", "-f", "rbee.adapters.policy"], check=False).stdout == ""


@pytest.mark.parametrize(("temperatures", "index"), [((90, 45), 1), ((45, 90), 0)])
def test_the_cool_policy_gives_work_to_the_gpu_that_is_not_hot(
    lab: Lab, tmp_path: Path, temperatures: tuple[int, int], index: int
) -> None:
    gpus.drive(lab.host, *(gpu(number, total=GIB, temp=heat) for number, heat in enumerate(temperatures)))
    gpus.install(lab.host, tmp_path)
    model = lab.give_tiny()
    steer(lab, f"{EXAMPLES}/cool-gpus.star")
    made = [lab.hive_json("worker", "spawn", "cuda", "--model", model, "--gpu", str(n))["id"] for n in (0, 1)]
    wait_for(lambda: len(workers(lab, model)) == 2, "the queen to hear of both", 10)
    assert {run(lab, "--model", model) for _ in range(4)} == {made[index]}
