"""What one person does from blep to other hosts, beyond their pools' own operations."""

import json
import signal
from xml.etree import ElementTree as Xml

from tests.fleet.house import CONFIG, House
from tests.rig.waiting import PATIENCE, wait_for

JUMP = "Host mac-by-jump\n    HostName mac\n    ProxyJump workstation\n    HostKeyAlias mac\n"


def test_an_orchestrator_elsewhere_is_steered_by_ssh(house: House) -> None:
    mac = house.lab("mac")
    for verb, state in (("start", "active"), ("restart", "active"), ("stop", "inactive")):
        assert house.rbee("orchestrator", verb, "--host", "mac").returncode == 0
        assert mac.show("rbee-queen.service", "ActiveState") == state
    done = house.rbee("orchestrator", "status", "--host", "mac", check=False)
    assert (done.returncode, "she is stopped" in done.stdout) == (0, True)
    house.rbee("orchestrator", "start", "--host", "mac")
    logs = ("orchestrator", "logs", "--host", "mac", "--lines", "20")
    wait_for(lambda: "queen.started" in house.rbee(*logs).stdout, "journald to take it in")


def test_following_an_orchestrators_log_elsewhere_ends_with_ctrl_c(house: House) -> None:
    house.rbee("orchestrator", "restart", "--host", "mac")
    with house.begin("orchestrator", "logs", "--host", "mac", "--follow") as command:
        assert command.stdout is not None
        assert command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert command.wait(15 * PATIENCE) == 130


def test_her_state_is_one_screen(house: House) -> None:
    shown = house.rbee("orchestrator", "status").stdout
    for word in ("service", "state", "since", "version", "0 running, 0 queued", "pools", "status"):
        assert word in shown
    house.rbee("orchestrator", "stop")
    stopped = house.rbee("orchestrator", "status", check=False)
    assert (stopped.returncode, "she is stopped" in stopped.stdout) == (0, True)
    house.rbee("orchestrator", "start")


def test_a_socket_that_went_deaf_is_said_and_opened_anew(house: House) -> None:
    """systemd forgets a socket's descriptors when its unit changes while it is up, and calls it active all the same."""
    mac, lab = house.hosts["mac"], house.lab("mac")
    dropin = "/etc/systemd/system/rbee-pool.socket.d/port.conf"
    mac.run(["mkdir", "-p", dropin.rpartition("/")[0]])
    mac.write(dropin, "[Socket]\nListenStream=\nListenStream=127.0.0.1:9201\n")
    try:
        mac.run(["systemctl", "daemon-reload"])
        assert lab.show("rbee-pool.socket", "ActiveState") == "active"
        assert mac.run(["systemctl", "restart", "rbee-pool"], check=False).returncode != 0
        assert "systemd started this unit without its socket" in mac.journal("-u", "rbee-pool")
        assert house.rbee("pool", "restart", "--host", "mac").stdout == "mac  rbee-pool restarted\n"
        assert "ok" in mac.run(["curl", "-s", "http://127.0.0.1:9201/health"]).stdout
    finally:
        mac.run(["rm", "-r", dropin.rpartition("/")[0]])
        mac.run(["systemctl", "daemon-reload"])
        house.rbee("pool", "restart", "--host", "mac")
    assert "ok" in mac.run(["curl", "-s", "http://127.0.0.1:9200/health"]).stdout


def test_a_jump_host_of_the_persons_own_configuration_is_used(house: House) -> None:
    house.blep.write("/root/.ssh/config", JUMP, mode=0o600)
    house.blep.write(CONFIG, house.blep.read(CONFIG) + '[hosts.far]\nssh = "mac-by-jump"\n')
    house.end_connections()  # a kept connection to mac would do as well
    try:
        done = house.rbee("pool", "exec", "--host", "far", "--", "sh", "-c", "hostname; echo ${SSH_CONNECTION%% *}")
    finally:
        house.blep.run(["rm", "/root/.ssh/config"])
        house.configure()
    assert done.stdout.split() == ["mac", house.hosts["workstation"].ip]


def test_a_connection_that_the_person_keeps_is_used(house: House) -> None:
    master = "Host mac\n    ControlMaster auto\n    ControlPath /root/.ssh/own-%C\n    ControlPersist 60\n"
    house.blep.write("/root/.ssh/config", master, mode=0o600)
    try:
        house.rbee("pool", "exec", "--host", "mac", "--", "true")
        sockets = house.blep.run(["sh", "-c", "ls /root/.ssh/own-*"]).stdout
        house.blep.run(["ssh", "-O", "exit", "mac"], check=False)
    finally:
        house.blep.run(["rm", "/root/.ssh/config"])
    assert sockets.startswith("/root/.ssh/own-")


def test_a_host_that_cannot_be_verified_is_an_error_in_the_junit_document(house: House) -> None:
    house.configure('[hosts.nowhere]\nssh = "nowhere"\n')
    try:
        done = house.rbee("pool", "verify", "--host", "nowhere", "--format", "junit", check=False)
    finally:
        house.configure()
    [suite] = Xml.fromstring(done.stdout)
    assert (suite.get("name"), suite.get("tests"), suite.get("errors")) == ("nowhere", "1", "1")
    assert "no such host, 'nowhere' cannot be resolved" in str(suite[0][0].get("message"))
    assert done.returncode == 69


def test_hosts_are_verified_from_here_in_every_format(house: House) -> None:
    mac, workstation = house.hosts["mac"], house.hosts["workstation"]
    for host in (mac, workstation):
        host.run(["systemctl", "start", "rbee-queen", "rbee-pool"])
    text = house.rbee("pool", "verify", *house.on("mac", "workstation"), check=False)
    assert {line.split()[0] for line in text.stdout.splitlines() if " passed, " in line} == {"mac", "workstation"}

    planted = "secrets.token_is_private"
    mac.run(["chmod", "644", "/etc/rbee/token"])
    try:
        done = house.rbee("pool", "verify", *house.on("mac", "workstation"), "--format", "json", check=False)
        rows = {row["id"]: row["result"] for row in json.loads(done.stdout)}
        broken = {name: {c["id"] for c in row["checks"] if c["outcome"] == "failed"} for name, row in rows.items()}
        assert done.returncode == 1
        assert planted in broken["mac"] - broken["workstation"], broken
        junit = house.rbee("pool", "verify", "--host", "mac", "--format", "junit", check=False)
        suites = Xml.fromstring(junit.stdout)
        assert planted in {case.get("name") for case in suites.iter("testcase") if case.find("failure") is not None}
        shown = house.rbee("pool", "verify", "--host", "mac", check=False).stdout
        assert "chmod 600 /etc/rbee/token" in shown
    finally:
        mac.run(["chmod", "600", "/etc/rbee/token"])
