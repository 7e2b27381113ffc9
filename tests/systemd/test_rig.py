"""What the rig promises to the tests that stand on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig import CommandError, Controller, Host, wait_for
from tests.rig.namespace import ID_VARIABLE
from tests.rig.plugin import Hosts
from tests.rig.waiting import PATIENCE

pytestmark = pytest.mark.bare_host

CHECKOUT = Path(__file__).resolve().parents[2]
EAT_200_MB = "import time; held = b'x' * 200_000_000; time.sleep(60)"


def test_it_boots_a_whole_system(module_host: Host) -> None:
    assert module_host.run(["systemctl", "is-system-running"]).stdout == "running\n"
    assert module_host.run(["hostname"]).stdout == "shared\n"
    assert module_host.read("/proc/1/comm") == "systemd\n"


def test_a_command_that_fails_shows_all_it_said(module_host: Host) -> None:
    with pytest.raises(CommandError, match=r"(?s)ended with 3.*one.*two") as caught:
        module_host.run(["sh", "-c", "echo one; echo two >&2; exit 3"])
    assert caught.value.returncode == 3


def test_a_command_gets_input_environment_and_user(module_host: Host) -> None:
    script = 'read line; echo "$line $WORD $(id -un) $HOME ${DBUS_SESSION_BUS_ADDRESS-none}"'
    done = module_host.run(["sh", "-c", script], user="nobody", input="hello\n", env={"WORD": "big"})
    assert done.stdout == "hello big nobody /nonexistent none\n"


@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_command_that_takes_too_long_is_killed(module_host: Host, user: str | None) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        module_host.run(["sleep", "4711"], user=user, timeout=3)
    wait_for(lambda: module_host.run(["pgrep", "-fx", "sleep 4711"], check=False).returncode == 1, "no sleep left")


@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_signal_reaches_the_command(module_host: Host, user: str | None) -> None:
    script = "trap 'echo got it; exit 130' INT; echo ready; while :; do sleep 0.05; done"
    with module_host.popen(["bash", "-c", script], user=user) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(2)
        assert process.stdout.read() == "got it\n"
    assert process.returncode == 130


def test_files_are_written_as_told(module_host: Host) -> None:
    module_host.write("/run/rig-test/secret", "s3cret", mode=0o600, owner="nobody")
    assert module_host.read("/run/rig-test/secret") == "s3cret"
    assert module_host.run(["stat", "-c", "%a %U", "/run/rig-test/secret"]).stdout == "600 nobody\n"


def test_limits_are_enforced(module_host: Host) -> None:
    limits = ["-p", "MemoryMax=30M", "-p", "MemorySwapMax=0", "-p", "TasksMax=4"]
    done = module_host.run(
        ["systemd-run", "--wait", "--collect", "--quiet", *limits, "/usr/bin/python3", "-c", EAT_200_MB], check=False
    )
    assert done.returncode != 0
    assert "killed" in module_host.journal("-b", "--grep=killed|oom-kill", "-n", "5")


def test_a_lingering_user_has_a_manager(module_host: Host) -> None:
    module_host.add_user("ada")
    state = module_host.run(["systemctl", "--user", "is-system-running", "--wait"], user="ada")
    assert state.stdout == "running\n"
    module_host.run(["systemd-run", "--user", "--unit=nap", "sleep", "100"], user="ada")
    assert module_host.unit_property("nap", "ActiveState", user="ada") == "active"
    assert module_host.ssh(["systemctl", "--user", "is-active", "nap"], user="ada").stdout == "active\n"


def test_hosts_reach_each_other_and_the_controller(hosts: Hosts, controller: Controller) -> None:
    two = hosts("blep", "workstation")
    for other in ("workstation", "controller"):
        two["blep"].run(["getent", "hosts", f"{other}.{controller.domain}"])
    assert two["workstation"].ssh(["hostname"]).stdout == "workstation\n"
    assert _answers(two["blep"], two["workstation"])


def test_a_cut_link_cuts_and_a_restored_one_heals(host: Host) -> None:
    before = host.pid1
    host.cut_link()
    assert host.ssh(["true"], check=False).returncode == 255
    host.restore_link()
    wait_for(lambda: host.ssh(["true"], check=False).returncode == 0, "ssh over the restored link")
    assert host.pid1 == before


def test_a_partition_parts_hosts_and_nothing_else(hosts: Hosts, controller: Controller) -> None:
    blep, mac = hosts("blep", "mac").values()
    controller.partition("blep", "mac")
    assert not _answers(blep, mac)
    assert blep.ssh(["true"]).returncode == mac.ssh(["true"]).returncode == 0
    controller.heal()
    wait_for(lambda: _answers(blep, mac), "blep to see mac again")


def test_a_journal_without_a_match_is_empty(module_host: Host) -> None:
    assert module_host.journal("--grep=no such words anywhere") == ""
    with pytest.raises(CommandError, match="Failed to parse"):
        module_host.journal("--lines=many")


def test_power_loss_keeps_the_disk_and_nothing_else(host: Host) -> None:
    host.write("/etc/kept", "yes")
    host.write("/run/lost", "yes")
    host.run(["systemd-run", "--unit=passing", "sleep", "1000"])
    assert "passing" in host.journal("-u", "passing")  # journald has taken it in
    host.power_loss()
    assert not host.up
    host.boot()
    assert host.read("/etc/kept") == "yes"
    assert host.run(["test", "-e", "/run/lost"], check=False).returncode == 1
    assert host.unit_property("passing", "LoadState") == "not-found"
    assert "passing" in host.journal("-b", "-1", "-u", "passing")


def test_a_reboot_comes_back_and_keeps_a_cut_link_cut(host: Host) -> None:
    host.write("/etc/kept", "yes")
    host.reboot()
    assert host.boots == 2
    assert host.read("/etc/kept") == "yes"
    host.cut_link()
    host.reboot()
    assert host.ssh(["true"], check=False).returncode == 255


def test_power_off_is_orderly(host: Host) -> None:
    host.power_off()
    assert not host.up
    host.boot()
    assert "Reached target poweroff.target" in host.journal("-b", "-1")


def test_a_host_sees_nothing_of_this_machines_home(module_host: Host) -> None:
    assert module_host.run(["ls", "-A", "/root"]).stdout == ".ssh\n"


def test_rigs_by_hand_leave_nothing_behind() -> None:
    argv = [sys.executable, "-m", "tests.rig", "--no-rbee", "--hosts=blep", "--"]
    command = [*argv, "sh", "-c", f"printenv {ID_VARIABLE}; ssh blep hostname; exit 9"]
    for _ in range(2):
        done = subprocess.run(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60 * PATIENCE,
        )
        rig_id, name = done.stdout.split()
        assert (done.returncode, name) == (9, "blep"), done.stderr
        # Unlike a glob, a walk goes on where another rig, which runs beside this one, has just removed a group.
        assert [top for top, groups, _ in os.walk("/sys/fs/cgroup") if rig_id in groups] == []


def _answers(source: Host, target: Host) -> bool:
    probe = f"import socket; socket.create_connection(('{target.ip}', 22), timeout=1)"
    return source.run(["/usr/bin/python3", "-c", probe], check=False).returncode == 0
