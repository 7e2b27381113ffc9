"""The bus is lost and comes back: whoever listens at it does so again, and nobody else notices."""

import threading
from functools import partial
from typing import Any

from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.lab import Hammer, Lab
from tests.systemd.sleeping import inhibitors

BUS, POOL = "dbus.service", "rbee-pool.service"
LOCKS = {"shutdown", "sleep"}
SLOWLY = "10%"
"""What a worker has of a core until the bus is lost: the model then loads for many seconds, and without it for one."""


def lose_bus(lab: Lab) -> None:
    lab.systemctl("kill", "--signal=KILL", BUS)
    for name in ("org.freedesktop.DBus", "org.freedesktop.systemd1", "org.freedesktop.login1"):
        wait_for(partial(has, lab, name), f"{name} on another bus", 20)


def has(lab: Lab, name: str) -> bool:
    return lab.host.run(["busctl", "status", name], check=False).returncode == 0


def test_a_pool_outlives_its_bus_and_listens_at_the_next_one(lab: Lab) -> None:
    lab.give_tiny()
    worker = lab.spawn("tiny", "--idle", "3600")["id"]
    wait_for(lambda: inhibitors(lab.host) == LOCKS, "the locks", 20)
    pool = lab.pid(POOL)
    with Hammer(lab, 9200) as hammer:
        hammer.wait_for_answers(5)
        lose_bus(lab)
        hammer.wait_for_answers(20)
        wait_for(lambda: inhibitors(lab.host) == LOCKS, "the locks again", 20)
        hammer.wait_for_answers(20)
    assert hammer.failures == []
    assert (lab.pid(POOL), lab.show(POOL, "NRestarts")) == (pool, "0")
    said = lab.host.journal("-u", POOL)
    assert said.count("power.untold") == 1 and "Connection reset by peer" in said
    assert "Exception" not in said and "Traceback" not in said
    lab.hive("worker", "stop", worker, "--yes")
    assert lab.units("rbee-worker-*") == set()


def loading(lab: Lab) -> bool:
    return lab.show("rbee-worker-cpu-0.service", "ActiveState") == "activating"


def test_a_spawn_that_loses_its_bus_says_so_and_the_worker_is_there_all_the_same(lab: Lab) -> None:
    lab.hive("status", "--http")
    said: list[tuple[int, Any]] = []
    spawning = threading.Thread(
        target=lambda: said.append(lab.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "smollm2"))
    )
    lab.limit_cpu(SLOWLY)
    spawning.start()
    wait_for(lambda: loading(lab), "the worker to load", 20)
    lose_bus(lab)
    lab.limit_cpu("")
    spawning.join(60 * PATIENCE)
    [(status, error)] = said
    assert (status, error["code"]) == (69, "no_manager")
    wait_for(lambda: [each["state"] for each in lab.hive_json("worker", "list")] == ["ready"], "the worker", 20)


def test_a_job_whose_worker_loads_when_the_bus_is_lost_is_done(lab: Lab) -> None:
    lab.limit_cpu(SLOWLY)
    job = lab.rbee_json("jobs", "submit", "--model", "smollm2", "--prompt", "x", "--max-tokens", "4", "--detach")["id"]
    wait_for(lambda: loading(lab), "the worker to load", 20)
    lose_bus(lab)
    lab.limit_cpu("")
    wait_for(lambda: lab.rbee_json("jobs", "status", job)["state"] == "completed", "the job", 30)


def test_a_logind_that_hangs_holds_up_nobody_and_is_asked_again(lab: Lab) -> None:
    lab.systemctl("start", POOL)
    lab.systemctl("kill", "--signal=STOP", "systemd-logind.service")
    lab.systemctl("restart", POOL)
    with Hammer(lab, 9200) as hammer:
        wait_for(lambda: "logind did not answer" in lab.host.journal("-u", POOL), "the pool to say so", 10)
    assert (hammer.failures, hammer.slowest_s < 15) == ([], True)
    lab.systemctl("kill", "--signal=CONT", "systemd-logind.service")
    wait_for(lambda: inhibitors(lab.host) == LOCKS, "the locks", 20)
    # logind lists them before the pool has them: whoever fetches them for the pool has yet to hand them on.
    wait_for(lambda: "logind.locked" in lab.host.journal("-u", POOL), "the pool to say that it has them", 10)
    assert lab.show(POOL, "NRestarts") == "0"
