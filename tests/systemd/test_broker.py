"""The broker as systemd runs it: by socket, as uid 0 with nothing, and gone when nobody asks."""

from tests.systemd.lab import Lab
from tests.systemd.test_privileges import PLAN, speak


def facts_of_process(lab: Lab) -> dict[str, str]:
    status = lab.host.read(f"/proc/{lab.pid('rbee-broker.service')}/status")
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


def test_it_starts_by_its_socket_and_has_no_capability(shared: Lab) -> None:
    assert speak(shared, "rbee", {"op": "list"})[0] == 0
    facts = facts_of_process(shared)
    assert facts["Uid"].split()[0] == "0"
    assert {facts[key] for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"


def test_user_rbee_makes_and_ends_a_worker_whose_properties_the_broker_chose(shared: Lab) -> None:
    assert speak(shared, "rbee", {"op": "start", "plan": PLAN})[1].strip() == '{"ok":true}'
    shown = shared.systemctl(
        "show", "rbee-worker-x.service", "-p", "DynamicUser,User,Slice,ProtectSystem,PrivateNetwork"
    )
    assert set(shown.stdout.split()) == {
        "DynamicUser=yes",
        "User=rbee-worker-x",
        "Slice=rbee-workers.slice",
        "ProtectSystem=strict",
        "PrivateNetwork=yes",
    }
    assert '"id":"worker-x"' in speak(shared, "rbee", {"op": "list"})[1]
    assert speak(shared, "rbee", {"op": "stop", "id": "worker-x"})[1].strip() == '{"ok":true}'
    assert shared.units("rbee-worker-*") == set()


def test_secrets_are_for_root_and_the_pool(shared: Lab) -> None:
    speak(shared, "rbee", {"op": "start", "plan": PLAN})
    listed = shared.host.run(["stat", "-c", "%U %G %a", "/run/rbee/workers/worker-x.secret"]).stdout.split()
    assert listed == ["root", "rbee", "640"]
    assert len(shared.host.run(["cat", "/run/rbee/workers/worker-x.secret"], user="rbee").stdout) == 64
    speak(shared, "rbee", {"op": "stop", "id": "worker-x"})
    assert shared.host.run(["ls", "-A", "/run/rbee/workers"]).stdout == ""


def test_it_stops_nothing_but_workers(shared: Lab) -> None:
    for stranger in ("ssh", "rbee-pool", "../ssh.service", "dbus.service"):
        assert '"error"' in speak(shared, "rbee", {"op": "stop", "id": stranger})[1]
    assert shared.show("ssh.service", "ActiveState") == "active"
