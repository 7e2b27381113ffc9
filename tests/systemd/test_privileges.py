"""Who may start a worker, and that being allowed to start one allows nothing else."""

import json

import pytest

from tests.systemd.lab import Lab

BROKER = "/run/rbee/broker.sock"
SPEAK = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(20)
    s.connect(sys.argv[1])
    s.sendall(sys.stdin.buffer.read())
    s.shutdown(socket.SHUT_WR)
    print(b"".join(iter(lambda: s.recv(65536), b"")).decode())
"""


def speak(lab: Lab, user: str | None, message: object) -> tuple[int, str]:
    text = message if isinstance(message, str) else json.dumps(message) + "\n"
    done = lab.host.run(["/usr/bin/python3", "-c", SPEAK, BROKER], user=user, input=text, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def stranger(shared: Lab) -> str:
    shared.host.add_user("ann")
    return "ann"


def test_the_pool_is_user_rbee_and_its_workers_are_somebody_else(shared: Lab) -> None:
    shared.spawn("tiny")
    pool, worker = (shared.pid(f"{unit}.service") for unit in ("rbee-pool", "rbee-worker-cpu-0"))
    owners = shared.host.run(["ps", "-o", "user:32=", "-p", f"{pool},{worker}"]).stdout.split()
    assert owners[0] == "rbee"
    assert owners[1] not in ("rbee", "root")
    shared.hive("worker", "stop", "worker-cpu-0", "--yes")


@pytest.mark.parametrize(
    "argv",
    [
        ["systemctl", "--no-ask-password", "stop", "ssh.service"],
        ["systemctl", "--no-ask-password", "restart", "rbee-queen.service"],
        ["systemd-run", "--no-ask-password", "id"],
        ["systemctl", "--no-ask-password", "set-property", "rbee-workers.slice", "MemoryMax=1M"],
        ["cat", "/etc/shadow"],
        ["cat", "/etc/rbee/token"],
    ],
    ids=lambda argv: "-".join(argv)[:40],
)
def test_user_rbee_may_do_nothing_else(shared: Lab, argv: list[str]) -> None:
    done = shared.host.run(argv, user="rbee", check=False)
    assert done.returncode != 0
    assert "uid=0" not in done.stdout


def test_another_user_may_not_even_speak_to_the_broker(shared: Lab, stranger: str) -> None:
    status, said = speak(shared, stranger, {"op": "list"})
    assert status != 0
    assert "PermissionError" in said


def test_another_user_may_not_spawn(shared: Lab, stranger: str) -> None:
    done = shared.host.run(
        ["rbee-hive", "worker", "spawn", "cpu", "--model", "tiny", "--http", "--format", "json"],
        user=stranger,
        check=False,
    )
    assert done.returncode == 77, done.stderr
    assert json.loads(done.stderr.strip().splitlines()[-1])["error"]["code"] == "unauthorized"
    assert shared.units("rbee-worker-*") == set()


def test_another_user_may_not_use_a_worker(shared: Lab, stranger: str) -> None:
    address = shared.spawn("tiny")["address"]
    done = shared.host.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}/v1/ready"], user=stranger
    )
    assert done.stdout == "401"
    shown = shared.host.run(["systemctl", "show", "rbee-worker-cpu-0.service"], user=stranger).stdout
    secret = shared.host.run(["sh", "-c", "cat /run/rbee/workers/worker-cpu-0*"]).stdout.strip()
    assert len(secret) >= 64
    assert secret not in shown
    assert (
        shared.host.run(["sh", "-c", "cat /run/rbee/workers/worker-cpu-0*"], user=stranger, check=False).returncode != 0
    )
    shared.hive("worker", "stop", "worker-cpu-0", "--yes")


PLAN = {
    "id": "worker-x",
    "backend": "cpu",
    "model": "tiny",
    "model_paths": ["/var/lib/rbee/models/tiny.gguf"],
    "address": "127.0.0.1:8500",
    "ctx": 256,
    "slots": 1,
    "idle_s": 60,
    "memory_bytes": 1 << 30,
    "threads": 1,
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../x;y"},
        {"id": "ssh.service"},
        {"id": ""},
        {"model_paths": ["/etc/shadow"]},
        {"model_paths": ["/var/lib/rbee/models/../../../../etc/shadow"]},
        {"model_paths": []},
        {"address": "0.0.0.0:22"},
        {"address": "not an address"},
        {"memory_bytes": -1},
        {"slots": 10_000},
        {"gpu": "; rm -rf /"},
        {"backend": "sh"},
        {"ExecStart": "/bin/sh"},
        {"Environment": "LD_PRELOAD=/tmp/x.so"},
    ],
    ids=str,
)
def test_the_broker_takes_nothing_but_a_worker(shared: Lab, change: dict[str, object]) -> None:
    status, said = speak(shared, "rbee", {"op": "start", "plan": {**PLAN, **change}})
    assert status == 0, said
    assert json.loads(said)["error"]["code"] in ("invalid_request", "not_permitted", "not_found", "model_not_found"), (
        said
    )
    assert shared.units("rbee-worker-*") == set()


@pytest.mark.parametrize(
    "message", ["{", "[]\n", '{"op":"exec"}\n', '{"op":"stop","id":"ssh"}\n', "x" * 100_000, ""], ids=repr
)
def test_the_broker_lives_through_junk(shared: Lab, message: str) -> None:
    speak(shared, "rbee", message)
    status, said = speak(shared, "rbee", {"op": "list"})
    assert status == 0
    assert "error" not in json.loads(said), said
    assert shared.show("ssh.service", "ActiveState") == "active"
