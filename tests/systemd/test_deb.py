"""The Debian package on hosts of its own: installed, upgraded under a job, removed, purged."""

import contextlib
import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rbee.wire.events import End
from rbee.wire.jobs import JobSpec
from tests.rig.host import SSH_CONFIG, Host
from tests.rig.plugin import Hosts
from tests.rig.waiting import PATIENCE
from tests.systemd.lab import Hammer, Lab
from tests.systemd.packages import Package, Packages
from tests.systemd.story import Story

SOCKETS = ("rbee-broker.socket", "rbee-pool.socket", "rbee-queen.socket")
MODELS = "/var/lib/rbee/models"
LONG = JobSpec(model="smollm2", prompt="Once", max_tokens=600, temperature=0, seed=1, ignore_eos=True)
NOT_OURS = ("/var/cache/man", "/var/log", "/var/tmp")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
SAID = [{"role": "user", "content": "Count to three."}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": SAID, "max_tokens": 24},
    "/v1/chat/completions?schema": {
        "messages": SAID,
        "max_tokens": 24,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    },
    "/v1/chat/completions?tools": {"messages": SAID, "tools": [TOOL], "tool_choice": "required", "max_tokens": 99},
    "/v1/chat/completions?likelihoods": {"messages": SAID, "logprobs": True, "top_logprobs": 2, "max_tokens": 24},
    "/v1/completions": {"prompt": "Once", "max_tokens": 24, "stop": ["."]},
    "/v1/responses": {"input": "Count to three.", "max_output_tokens": 24},
    "/v1/messages": {"messages": SAID, "max_tokens": 24},
    "/api/chat": {"messages": SAID, "stream": False, "options": {"num_predict": 24}},
}


@pytest.fixture
def debian(hosts: Hosts) -> Host:
    """A host of Debian's without rbee, where nothing keeps packages from starting what they bring."""
    host = hosts("blep", rbee=False)["blep"]
    host.run(["rm", "-f", "/usr/sbin/policy-rc.d"])
    host.run(["rmdir", "/etc/rbee", "/var/lib/rbee"])  # the rig's, which hide this machine's
    return host


def test_what_it_brings_works_stays_when_removed_and_is_gone_when_purged(debian: Host, debs: Packages) -> None:
    before = _files(debian)
    debs.first.install_on(debian)
    lab = Lab(debian)
    assert {socket: lab.show(socket, "ActiveState") for socket in SOCKETS} == dict.fromkeys(SOCKETS, "active")
    assert _answers(lab)
    assert _verified(debian)["failed"] == []
    token = lab.token
    lab.rbee("orchestrator", "listen", "127.0.0.1:8090")
    lab.systemctl("enable", "rbee-pool.service")
    debian.write("/etc/rbee/rbee.toml", "# mine\n")
    debian.write("/var/cache/private/rbee-worker-x/slot-0.bin", "what somebody said")
    lab.spawn("smollm2", "--id", "sleepy", "--lazy")

    debian.run(["dpkg", "--remove", "rbee"])
    assert {name for name in lab.units("rbee*") if lab.show(name, "ActiveState") != "inactive"} == set()
    assert not [path for path in _files(debian) - before if path.startswith(("/usr", "/opt", "/lib", "/var/cache"))]
    assert debian.run(["find", "/run/rbee"], check=False).returncode != 0

    debs.first.install_on(debian)
    assert debian.read("/etc/rbee/rbee.toml") == "# mine\n"
    assert lab.token == token
    assert lab.rbee_json("orchestrator", "status")["listens"] == ["127.0.0.1:8090"]
    debian.run(["mount", "-t", "tmpfs", "models", MODELS])
    debian.write(f"{MODELS}/mine.gguf", "of a disk of its own")
    said = debian.run(["dpkg", "--purge", "rbee"])
    assert f"skipping '{MODELS}'" in said.stderr
    assert debian.read(f"{MODELS}/mine.gguf") == "of a disk of its own"
    debian.run(["umount", MODELS])
    assert _files(debian) - before == {"/var/lib/rbee", MODELS}

    debs.first.install_on(debian)
    assert _answers(lab)
    assert lab.token != token
    assert lab.rbee_json("orchestrator", "status")["listens"] == ["127.0.0.1:8080"]
    debian.run(["dpkg", "--purge", "rbee"])
    assert _files(debian) - before == set()


def test_an_upgrade_under_a_job_loses_nothing(debian: Host, debs: Packages) -> None:
    """And so does the way back. What the worker has not loaded yet, for a grammar say, it takes from the other."""
    debs.first.install_on(debian)
    lab = Lab(debian)
    debian.write("/etc/rbee/rbee.toml", "# mine\n")
    worker = lab.spawn("smollm2")["id"]
    lab.spawn("smollm2", "--id", "sleepy", "--lazy")
    for package in (debs.later, debs.first):
        before = {unit: lab.pid(unit) for unit in ("rbee-queen.service", "rbee-pool.service", f"rbee-{worker}.service")}
        lab.limit_cpu("20%", f"rbee-{worker}.service")  # so that it is slower than dpkg, also on a busy machine
        with Story(lab, LONG) as story:
            story.wait_for_tokens(5)
            with Hammer(lab, 8080) as callers:
                package.install_on(debian)
                callers.wait_for_answers(3)
            assert story.tokens < LONG.max_tokens * 0.9, "the job was over before the upgrade was"
            lab.limit_cpu("", f"rbee-{worker}.service")
            assert isinstance(story.finish(300), End)
        assert callers.failures == []
        numbers = [number for number, _ in story.seen]
        assert numbers == list(range(1, len(numbers) + 1))
        after = {unit: lab.pid(unit) for unit in before}
        assert {unit for unit in before if after[unit] != before[unit]} == {"rbee-queen.service", "rbee-pool.service"}
        assert lab.rbee_json("orchestrator", "status")["version"] == package.version
        assert debian.read("/etc/rbee/rbee.toml") == "# mine\n"
        answers = {path: _ask(lab, path.partition("?")[0], body) for path, body in ASKED.items()}
        assert {path: status for path, (status, _) in answers.items()} == dict.fromkeys(ASKED, 200), answers
    assert int(lab.show(f"rbee-{worker}.service", "NRestarts")) == 0
    lab.hive("worker", "stop", worker, "--yes")
    awake = lab.rbee_json("jobs", "submit", "--model", "smollm2", "--prompt", "hello", "--max-tokens", "3")
    assert (awake["state"], awake["worker"]) == ("completed", "sleepy")


def test_a_late_purge_takes_nothing_from_who_has_installed_from_a_checkout_since(debian: Host, debs: Packages) -> None:
    debs.first.install_on(debian)
    token = debian.read("/etc/rbee/token")
    debian.run(["dpkg", "--remove", "rbee"])
    debian.write(
        "/usr/local/lib/systemd/system/rbee-queen.service", "[Service]\nExecStart=/usr/local/lib/rbee/bin/queen-rbee\n"
    )
    said = debian.run(["dpkg", "--purge", "rbee"])
    assert "rbee-queen.service is of another installation, whose configuration and state stay" in said.stderr
    assert debian.read("/etc/rbee/token") == token
    debian.run(["rm", "/usr/local/lib/systemd/system/rbee-queen.service"])
    debs.first.install_on(debian)
    assert debian.read("/etc/rbee/token") == token
    assert debian.run(["systemctl", "is-active", *SOCKETS], check=False).stdout.split() == ["active"] * len(SOCKETS)


@pytest.mark.parametrize("way", ["forbidden by policy-rc.d", "in a chroot"])
def test_where_nothing_may_start_it_is_up_at_the_next_boot(way: str, debian: Host, debs: Packages) -> None:
    install = _forbidden if way.startswith("forbidden") else _in_a_chroot
    install(debian, debs.first)
    lab = Lab(debian)
    assert {socket: lab.show(socket, "ActiveState") for socket in SOCKETS} == dict.fromkeys(SOCKETS, "inactive")
    debian.reboot()
    assert _answers(lab)


def test_beside_another_installation_it_is_refused_and_nothing_has_changed(lab: Lab, debs: Packages) -> None:
    before = _files(lab.host)
    done = debs.first.install_on(lab.host, check=False)
    assert done.returncode != 0
    assert "/usr/local/lib/systemd/system/rbee-queen.service is of another installation" in done.stderr
    assert "hint: make uninstall" in done.stderr
    assert _files(lab.host) - before == set()
    assert _answers(lab)


def test_lintian_finds_nothing_that_is_not_answered(debs: Packages) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", "--tag-display-limit=0", debs.first.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def _answers(lab: Lab) -> bool:
    answer = lab.rbee_json("jobs", "submit", "--model", "smollm2", "--prompt", "hello", "--max-tokens", "3")
    return bool(answer["state"] == "completed")


def _verified(host: Host) -> dict[str, list[str]]:
    """Return which checks of ``rbee-keeper pool verify`` ended how."""
    command = [sys.executable, "-m", "rbee.verify", f"--host={host.name}", f"--ssh=root@{host.name}", "--format=json"]
    done = subprocess.run(
        [*command, f"--ssh-config={SSH_CONFIG}"], capture_output=True, text=True, check=False, timeout=60 * PATIENCE
    )
    outcomes: dict[str, list[str]] = {"failed": []}
    for check in json.loads(done.stdout)["checks"]:
        outcomes.setdefault(check["outcome"], []).append(check["id"])
    return outcomes


def _files(host: Host) -> set[str]:
    """Return what lies on the host's disk, but for where others write while they run."""
    ways = [word for path in NOT_OURS for word in ("-path", path, "-prune", "-o")]
    return set(host.run(["find", "/etc", "/opt", "/usr", "/var", *ways, "-print"]).stdout.splitlines())


def _ask(lab: Lab, path: str, body: dict[str, Any]) -> tuple[int, str]:
    with lab.network():
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
        headers = {"Authorization": f"Bearer {lab.token}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps({"model": "smollm2", **body}), headers)
        with contextlib.closing(connection):
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


def _forbidden(host: Host, package: Package) -> None:
    host.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
    package.install_on(host)


def _in_a_chroot(host: Host, package: Package) -> None:
    """Install into the host's own files as whoever makes an image does: no systemd is seen from in there."""
    inner = Path("/mnt/image")
    host.run(["mkdir", "-p", str(inner)])
    host.run(["mount", "--bind", "/", str(inner)])
    host.run(["mount", "--bind", "/dev", str(inner / "dev")])
    host.run(["mount", "-t", "proc", "proc", str(inner / "proc")])
    host.run(["dpkg", f"--root={inner}", "--install", package.put_on(host)], timeout=180)
    host.run(["umount", "--recursive", str(inner)])
    host.run(["rm", "-r", str(inner)])
