"""The two daemons as systemd sees them: asleep until asked, restarted without a refusal, killed when they hang."""

import http.client
import os
import signal

import pytest

from rbee.wire.events import End
from rbee.wire.jobs import JobSpec
from tests.rig.waiting import wait_for
from tests.systemd.lab import Hammer, Lab
from tests.systemd.story import Story

DAEMONS = {"rbee-queen": 8080, "rbee-pool": 9200}
daemon = pytest.mark.parametrize(("unit", "port"), DAEMONS.items(), ids=DAEMONS.keys())


@daemon
def test_a_daemon_sleeps_until_the_first_request(lab: Lab, unit: str, port: int) -> None:
    assert lab.show(f"{unit}.service", "ActiveState") == "inactive"
    assert lab.show(f"{unit}.socket", "ActiveState") == "active"
    with Hammer(lab, port) as hammer:
        hammer.wait_for_answers(1)
    assert hammer.failures == []
    lab.wait_active(f"{unit}.service")
    assert lab.show(f"{unit}.service", "StatusText") != ""


@daemon
def test_a_restart_under_load_refuses_no_request(lab: Lab, unit: str, port: int) -> None:
    with Hammer(lab, port) as hammer:
        hammer.wait_for_answers(20)
        before = lab.pid(f"{unit}.service")
        for _ in range(2):
            lab.systemctl("restart", f"{unit}.service")
            hammer.wait_for_answers(20)
    assert hammer.failures == []
    assert lab.pid(f"{unit}.service") != before


@daemon
def test_a_blocked_daemon_is_restarted_by_the_watchdog(lab: Lab, unit: str, port: int) -> None:
    lab.host.write(f"/run/systemd/system/{unit}.service.d/quick.conf", "[Service]\nWatchdogSec=10\nTimeoutAbortSec=1\n")
    lab.systemctl("daemon-reload")
    lab.systemctl("start", f"{unit}.service")
    stuck = lab.pid(f"{unit}.service")
    os.kill(lab.outer_pid(f"{unit}.service"), signal.SIGSTOP)
    wait_for(lambda: lab.pid(f"{unit}.service") not in (0, stuck), f"a new {unit}", 20)
    lab.wait_active(f"{unit}.service")
    assert "Watchdog timeout" in lab.host.journal("-u", f"{unit}.service")
    with Hammer(lab, port) as hammer:
        hammer.wait_for_answers(1)
    assert hammer.failures == []


@daemon
def test_reload_takes_a_right_file_over_and_keeps_the_old_one_when_it_is_wrong(lab: Lab, unit: str, port: int) -> None:
    lab.systemctl("start", f"{unit}.service")
    pid = lab.pid(f"{unit}.service")
    good = lab.host.read("/etc/rbee/rbee.toml")
    lab.host.write("/etc/rbee/rbee.toml", "[queen]\nbnd = 1\n")
    lab.systemctl("reload", f"{unit}.service")
    wait_for(lambda: "config.rejected" in lab.host.journal("-u", f"{unit}.service"), "the wrong file to be rejected")
    lab.host.write("/etc/rbee/rbee.toml", good)
    lab.systemctl("reload", f"{unit}.service")
    wait_for(lambda: "config.reloaded" in lab.host.journal("-u", f"{unit}.service"), "the right one to be taken")
    assert lab.pid(f"{unit}.service") == pid


@daemon
def test_a_wrong_config_stops_the_start_with_the_key_named(lab: Lab, unit: str, port: int) -> None:
    lab.host.write("/etc/rbee/rbee.toml", "[queen]\nqueue_capacity = 'many'\n")
    assert lab.systemctl("start", f"{unit}.service", check=False).returncode != 0
    assert lab.show(f"{unit}.service", "ExecMainStatus") == "78"
    assert lab.show(f"{unit}.service", "NRestarts") == "0"
    assert "queen.queue_capacity: is text, expected a whole number" in lab.host.journal("-u", f"{unit}.service")


@daemon
def test_the_network_is_not_served_without_a_token(lab: Lab, unit: str, port: int) -> None:
    lab.host.run(["rm", "-f", "/etc/rbee/token"])
    program = "queen-rbee" if unit == "rbee-queen" else "pool-managerd"
    done = lab.host.run([program, "--bind", "0.0.0.0:7777"], check=False, timeout=20)
    assert done.returncode == 78
    assert "reachable from the network, but no token is configured" in done.stderr


JOURNALD = ("systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald.service")


def test_without_a_journal_all_goes_on_and_with_one_again_it_is_written(lab: Lab) -> None:
    lab.give_tiny()
    lab.spawn("tiny")
    lab.systemctl("stop", *JOURNALD)
    answer = lab.rbee_json(
        "jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "2", "--id", "unseen"
    )
    assert answer["state"] == "completed"
    lab.systemctl("start", *JOURNALD)
    lab.rbee("jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "2", "--id", "seen")
    wait_for(lambda: "inference.ended" in lab.host.journal("JOB=seen"), "the worker to log it")
    assert "job.accepted" in lab.host.journal("JOB=seen")
    assert lab.host.journal("JOB=unseen") == ""
    assert {lab.show(f"{unit}.service", "NRestarts") for unit in DAEMONS} == {"0"}


def test_a_token_is_changed_by_reloads_alone(lab: Lab) -> None:
    lab.give_tiny()
    lab.spawn("tiny")
    old, new = lab.token, "n" * 64
    before = {unit: lab.pid(f"{unit}.service") for unit in DAEMONS}
    _give_tokens(lab, new, old)
    assert {_greeted(lab, port, token) for port in DAEMONS.values() for token in (old, new)} == {200}
    _give_tokens(lab, new)
    assert {_greeted(lab, port, new) for port in DAEMONS.values()} == {200}
    assert {_greeted(lab, port, old) for port in DAEMONS.values()} == {401}
    lab.rbee("jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "2")
    assert {unit: lab.pid(f"{unit}.service") for unit in DAEMONS} == before
    kept = lab.host.run(["stat", "-c", "%a %U %G", "/run/rbee/rbee-queen.token", "/run/rbee/rbee-pool.token"]).stdout
    assert set(kept.splitlines()) == {"640 root rbee-token"}


SECOND = """
[Service]
Environment=RBEE_QUEEN_DATABASE=/var/lib/private/rbee-queen/queen.sqlite
ExecStart=/usr/local/bin/queen-rbee --bind=127.0.0.1:8099
Type=notify
Restart=on-failure
RestartPreventExitStatus=USAGE CANTCREAT CONFIG
"""


def test_a_second_queen_on_the_database_refuses_and_the_first_goes_on(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "1024")
    lab.host.write("/run/systemd/system/second.service", SECOND)
    lab.systemctl("daemon-reload")
    with Story(lab, JobSpec(model="smollm2", prompt="Once", max_tokens=200, temperature=0, ignore_eos=True)) as story:
        story.wait_for_tokens(5)
        first = lab.pid("rbee-queen.service")
        assert lab.systemctl("start", "second.service", check=False).returncode != 0
        assert isinstance(story.finish(), End)
    assert (lab.show("second.service", "ExecMainStatus"), lab.show("second.service", "NRestarts")) == ("73", "0")
    said = lab.host.journal("-u", "second.service")
    assert "another queen uses the database /var/lib/private/rbee-queen/queen.sqlite" in said
    assert "systemctl status rbee-queen" in said
    assert [number for number, _ in story.seen] == list(range(1, len(story.seen) + 1))
    assert lab.pid("rbee-queen.service") == first
    assert "database.failed" not in lab.host.journal("-u", "rbee-queen.service")


def _give_tokens(lab: Lab, *tokens: str) -> None:
    """Let both daemons take these, and wait until they have."""
    lab.host.write("/etc/rbee/token", "\n".join(tokens) + "\n", mode=0o600)
    for unit in DAEMONS:
        _reload(lab, f"{unit}.service")


def _reload(lab: Lab, unit: str) -> None:
    known = lab.host.journal("-u", unit).count("config.reloaded")
    lab.systemctl("reload", unit)
    wait_for(lambda: lab.host.journal("-u", unit).count("config.reloaded") > known, f"{unit} to have reloaded")


def _greeted(lab: Lab, port: int, token: str) -> int:
    """Return the status that a request with this token gets."""
    with lab.network():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        path = "/v2/tasks" if port == DAEMONS["rbee-queen"] else "/v2/state"
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        status = connection.getresponse().status
        connection.close()
    return status


def test_no_unit_fails_and_the_daemons_are_nobody_in_particular(lab: Lab) -> None:
    for unit in DAEMONS:
        lab.systemctl("start", f"{unit}.service")
        status = lab.host.read(f"/proc/{lab.pid(f'{unit}.service')}/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split()[0] != "0"
        assert int(facts["CapEff"], 16) == 0
        assert facts["NoNewPrivs"] == "1"
    assert lab.host.run(["systemctl", "--failed", "--no-legend"]).stdout == ""
