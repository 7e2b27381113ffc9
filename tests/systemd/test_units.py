"""SystemdUnits against real managers, root's and a user's: what systemd makes, refuses, tells and forgets."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rbee.pool_core.unit import plan_from_argv
from tests.rig.host import Host
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab, network_of
from tests.systemd.managed import MODEL, PROGRAM, Managed

ID = "worker-cpu-0"
SERVICE = "rbee-worker-cpu-0.service"
SOCKET = "rbee-worker-cpu-0.socket"


@pytest.fixture(scope="module")
def ann(module_host: Host) -> str:
    module_host.add_user("ann")
    return "ann"


@pytest.fixture(params=["system", "user"])
def managed(request: pytest.FixtureRequest, module_host: Host, ann: str) -> Iterator[Managed]:
    made = Managed(module_host, ann if request.param == "user" else None)
    made.install_pretender()
    yield made
    for facts in made.ask(("list", []))[0]:
        made.ask(("stop", [facts["id"]]))


def lab(managed: Managed) -> Lab:
    return Lab(managed.host, managed.user)


def connect(managed: Managed, port: int, message: str) -> str:
    with network_of(managed.host), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(message.encode())
        return connection.recv(100).decode()


def test_a_pair_is_made_started_read_back_and_forgotten(managed: Managed) -> None:
    plan = managed.plan(cpu_percent=150, model_paths=[MODEL, "/opt/pretender/$HOME %n.gguf"])
    made, before, started, facts, stopped, after = managed.ask(
        ("create", plan), ("list", []), ("start", ID), ("find", [ID]), ("stop", [ID]), ("list", [])
    )
    assert (made, stopped, after) == (None, None, [])
    assert (before[0]["service_state"], before[0]["socket_state"]) == ("inactive", "active")
    assert started[-1]["result"] == "done"
    assert "loading 60%" in [item["status_text"] for item in started]
    assert list(plan_from_argv(facts["argv"]).model_paths) == plan["model_paths"]
    assert (facts["status_text"], facts["memory_limit_bytes"], facts["program_missing"]) == ("ready", 200 << 20, False)
    assert lab(managed).units("rbee-worker-*") == set()


def test_systemd_holds_the_properties_it_was_given(managed: Managed) -> None:
    managed.ask(("create", managed.plan(cpu_percent=150)), ("start", ID))
    shown = lab(managed).systemctl(
        "show", SERVICE, "-p", "Transient,MemoryMax,CPUQuotaPerSecUSec,TasksMax,WatchdogUSec,CollectMode,ProtectSystem"
    )
    assert set(shown.stdout.split()) == {
        "Transient=yes",
        f"MemoryMax={200 << 20}",
        "CPUQuotaPerSecUSec=1.500000s",
        "TasksMax=257",
        "WatchdogUSec=30s",
        "CollectMode=inactive-or-failed",
        "ProtectSystem=strict",
    }


def test_a_daemon_reload_changes_nothing(managed: Managed) -> None:
    """Every package upgrade runs one. A transient unit is then read again, from the file that systemd wrote for it."""
    folder = '/opt/pretender/$HOME ${x} %n it\'s "so"; a\\b'
    managed.host.run(["mkdir", "-p", folder])
    managed.host.write(f"{folder}/model.gguf", "")
    plan = managed.plan(cpu_percent=150, model_paths=[f"{folder}/model.gguf"])
    _, _, secret = managed.ask(("create", plan), ("start", ID), ("secret", [ID]))
    before = _told(managed)
    lab(managed).systemctl("daemon-reload")
    assert _changed(before, _told(managed)) == {}
    first = lab(managed).pid(SERVICE)
    lab(managed).systemctl("kill", "--signal=KILL", SERVICE)
    wait_for(lambda: lab(managed).pid(SERVICE) not in (0, first), "systemd to restart it", 20)
    assert connect(managed, 8001, secret).isdigit()
    facts = managed.ask(("find", [ID]))[0]
    assert plan_from_argv(facts["argv"]).model_paths == (f"{folder}/model.gguf",)
    assert _changed(before, _told(managed)) == {}


_MEASURED = re.compile(
    r"(Memory(Current|Available|Peak)|CPUUsage|IO\w+(Bytes|Operations)$|IP\w+(Bytes|Packets)$|TasksCurrent|\w*Timestamp"
    r"|\w*(PID|PIDs)$|UID$|GID$|NRestarts|InvocationID|ControlGroupId|StatusText|\w*Stat(e|us)$|Result|NAccepted|N)"
)


def _told(managed: Managed) -> dict[str, str]:
    """Return what systemd was told of the pair, without what it measures; lists are in no order."""
    told = {}
    for unit in (SERVICE, SOCKET):
        for line in lab(managed).systemctl("show", unit).stdout.splitlines():
            key, _, value = line.partition("=")
            if not _MEASURED.match(key):
                told[f"{unit} {key}"] = " ".join(sorted(_RUN.sub("", value).split()))
    return told


def _changed(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        key: (before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


_RUN = re.compile(r"start_time=.*?status=\S+")


def test_a_taken_port_a_wrong_address_and_a_taken_name_are_told_apart(managed: Managed) -> None:
    with network_of(managed.host), socket.create_server(("127.0.0.1", 8002)):
        _, port, address, name = managed.ask(
            ("create", managed.plan()),
            ("create", managed.plan("other", 8002)),
            ("create", managed.plan("other", address="192.0.2.1:8003")),
            ("create", managed.plan(port=8004)),
        )
    assert [answer["error"] for answer in (port, address, name)] == ["PortTaken", "InvalidRequest", "Conflict"]
    assert lab(managed).units("rbee-worker-*") == {SOCKET, SERVICE}


def test_ids_that_share_a_unit_are_not_mixed_up(managed: Managed) -> None:
    _, taken, found, stopped = managed.ask(
        ("create", managed.plan("big")),
        ("create", managed.plan("worker-big", 8002)),
        ("find", ["worker-big"]),
        ("stop", ["worker-big"]),
    )
    assert (taken["error"], found, stopped["error"]) == ("Conflict", None, "NotFound")
    assert managed.ask(("find", ["big"]))[0]["id"] == "big"


def test_only_the_secret_opens_a_worker_and_it_outlives_whoever_made_it(managed: Managed) -> None:
    managed.ask(("create", managed.plan()), ("start", ID))
    secret = managed.ask(("secret", [ID]))[0]
    assert len(secret) == 64
    assert connect(managed, 8001, secret).isdigit()
    assert connect(managed, 8001, "guess") == "no"
    assert secret not in lab(managed).systemctl("show", SERVICE, SOCKET).stdout
    assert managed.ask(("stop", [ID]), ("secret", [ID]))[1]["error"] == "NotFound"


def test_what_is_kept_of_conversations_is_the_workers_alone_and_goes_with_it(managed: Managed) -> None:
    """It lies there while the worker sleeps, also over a wake, and is gone when the worker is stopped for good."""
    managed.ask(("create", managed.plan(idle_s=1, keep=True)), ("start", ID))
    folder = managed.kept_by(ID)
    lab(managed).wait_active(SERVICE, "inactive")
    assert managed.host.read(f"{folder}/slot-0") == "what somebody said"
    modes = managed.host.run(["stat", "-c", "%a", folder, f"{folder}/slot-0"]).stdout.split()
    assert modes == ["700", "600"]
    managed.ask(("start", ID))
    lab(managed).wait_active(SERVICE, "inactive")
    lab(managed).systemctl("daemon-reload")
    assert managed.ask(("stop", [ID]), ("list", [])) == [None, []]
    assert _left(managed) == []
    assert lab(managed).units("rbee-worker-*") == set()


def test_what_is_kept_goes_with_the_socket_whoever_stops_that(managed: Managed) -> None:
    managed.ask(("create", managed.plan(idle_s=1, keep=True)), ("start", ID))
    lab(managed).wait_active(SERVICE, "inactive")
    assert managed.host.read(f"{managed.kept_by(ID)}/slot-0") == "what somebody said"
    lab(managed).systemctl("stop", SOCKET)
    assert _left(managed) == []
    assert lab(managed).units("rbee-worker-*") == set()


def test_one_that_is_writing_while_it_is_drained_leaves_nothing(managed: Managed) -> None:
    managed.ask(("create", managed.plan(model="scribbler", idle_s=1, keep=True)), ("start", ID))
    wait_for(lambda: lab(managed).show(SERVICE, "StatusText") == "writing", "it to write", 10)
    assert managed.ask(("release", [ID])) == [None]
    wait_for(lambda: lab(managed).units("rbee-worker-*") == set(), "it to end", 10)
    assert _left(managed) == []


def test_what_could_not_be_removed_is_told(managed: Managed) -> None:
    """Something is mounted there, say."""
    managed.ask(("create", managed.plan(keep=True)))
    folder = managed.kept_by(ID)
    managed.host.run(["mkdir", "-p", folder], user=managed.user)
    managed.host.run(["mount", "-t", "tmpfs", "tmpfs", folder])
    refused, listed = managed.ask(("stop", [ID]), ("list", []))
    managed.host.run(["umount", folder])
    assert (refused["error"], refused["hint"], listed) == ("RbeeError", f"rm -r {folder}", [])
    assert f"could not remove the conversations it kept in {folder}: exit-code" in refused["message"]


def test_one_that_runs_is_stopped_and_cleaned_as_well(managed: Managed) -> None:
    managed.ask(("create", managed.plan(keep=True)), ("start", ID))
    managed.host.run(["touch", f"{managed.kept_by(ID)}/slot-0"], user=managed.user)
    assert managed.ask(("stop", [ID]), ("create", managed.plan()), ("list", []))[:2] == [None, None]
    assert _left(managed) == []


def test_what_is_kept_is_removed_before_its_worker_is_stopped(managed: Managed) -> None:
    """Its post-mortem gets that folder anew: while it is being removed the one or the other fails."""
    removing = "/opt/pretender/rm"
    manager = "--user" if managed.user else "--system"
    state = f"systemctl {manager} show -P ActiveState {SERVICE}"
    managed.host.write(removing, f'#!/bin/sh\n{state} >>/tmp/removed.{managed.user}\nexec /bin/rm "$@"\n', mode=0o755)
    plan = managed.plan(keep=True)
    _, _, stopped = managed.ask(("create", plan), ("start", ID), ("stop", [ID]), changed={"rm": removing})
    assert stopped is None
    assert managed.host.read(f"/tmp/removed.{managed.user}").split() == ["active", "active"]


def _left(managed: Managed) -> list[str]:
    """Return what lies in the worker's folder; that is made again, empty, for the post-mortem of one that ran."""
    return managed.host.run(["ls", managed.kept_by(ID)], check=False).stdout.split()


def test_idle_is_no_process_and_a_connection_wakes_it(managed: Managed) -> None:
    _, _, secret = managed.ask(("create", managed.plan(idle_s=1)), ("start", ID), ("secret", [ID]))
    first = lab(managed).pid(SERVICE)
    lab(managed).wait_active(SERVICE, "inactive")
    assert lab(managed).show(SOCKET, "ActiveState") == "active"
    assert connect(managed, 8001, secret) not in ("", "no", str(first))
    assert lab(managed).show(SERVICE, "NRestarts") == "0"


@pytest.mark.parametrize(
    ("model", "result", "code", "changed"),
    [
        ("crash", "exit-code", "exited/1", {}),
        ("wrong-usage", "exit-code", "exited/64", {}),
        ("slow", "timeout", "killed/TERM", {"load_timeout_s": 5}),
    ],
)
def test_a_failed_start_ends_at_once_and_says_how(
    managed: Managed, model: str, result: str, code: str, changed: dict[str, Any]
) -> None:
    _, started = managed.ask(("create", managed.plan(model=model)), ("start", ID), changed=changed)
    ended = told_end(managed)
    assert started[-1]["result"] in (result, "failed")  # that of the job, where systemd has begun the next try
    assert (ended["result"], ended["code"]) == (result, code)
    if model == "crash":
        assert "tensor 'x' is truncated" in ended["log"]


def told_end(managed: Managed) -> Any:
    """Return how the worker ended, once journald has taken in what its post-mortem wrote."""
    managed.host.run(["journalctl", "--sync"])
    return wait_for(lambda: managed.ask(("last_exit", [ID]))[0], "it to be told; not while the next one ends", 20)


def test_what_is_wrong_by_itself_is_not_tried_again(managed: Managed) -> None:
    managed.ask(("create", managed.plan(model="wrong-usage")), ("start", ID))
    assert lab(managed).show(SERVICE, "ActiveState") == "failed"
    assert lab(managed).show(SERVICE, "NRestarts") == "0"


def test_a_hung_worker_is_killed_restarted_and_told(managed: Managed) -> None:
    managed.ask(("create", managed.plan(model="hang")), ("start", ID), changed={"watchdog_s": 3})
    wait_for(lambda: lab(managed).show(SERVICE, "NRestarts") != "0", "systemd to restart it", 20)
    assert told_end(managed)["result"] == "watchdog"


def test_released_it_lives_on_but_nothing_wakes_it_again(managed: Managed) -> None:
    facts = managed.ask(("create", managed.plan()), ("start", ID), ("release", [ID]), ("find", [ID]))[-1]
    assert (facts["service_state"], facts["socket_state"]) == ("active", "inactive")
    lab(managed).systemctl("kill", "--signal=TERM", SERVICE)  # as if its time had come
    wait_for(lambda: lab(managed).units("rbee-worker-*") == set(), "the released worker to be gone", 20)


def test_a_program_that_is_gone_is_noticed(managed: Managed) -> None:
    managed.ask(("create", managed.plan()))
    managed.host.run(["rm", PROGRAM])
    assert managed.ask(("find", [ID]))[0]["program_missing"] is True


def test_a_strangers_unit_with_a_workers_name_is_left_alone(managed: Managed) -> None:
    scope = ["--user"] if managed.user else []
    run = ["systemd-run", *scope, "--unit=rbee-worker-stranger", "sleep", "100"]
    managed.host.run(run, user=managed.user)
    listed, stopped = managed.ask(("list", []), ("stop", ["stranger"]))
    assert (listed, stopped["error"]) == ([], "NotFound")
    assert lab(managed).show("rbee-worker-stranger.service", "ActiveState") == "active"
    lab(managed).systemctl("stop", "rbee-worker-stranger.service")


def test_out_of_memory_is_told_from_a_kill_though_systemd_cannot(module_host: Host) -> None:
    managed = Managed(module_host)
    managed.install_pretender()
    _, started = managed.ask(("create", managed.plan(model="hog")), ("start", ID))
    ended = told_end(managed)
    managed.ask(("stop", [ID]))
    assert started[-1]["result"] in ("signal", "oom-kill")
    assert (ended["oom"], ended["memory_limit_bytes"]) == (True, 200 << 20)
    assert ended["memory_peak_bytes"] > 0.9 * (200 << 20)


def ask_bare(host: Host, user: str | None, env: dict[str, str]) -> Any:
    return Managed(host, user).ask(("list", []), env=env)[0]


def test_another_users_bus_in_the_environment_does_not_win(module_host: Host, ann: str) -> None:
    assert ask_bare(module_host, ann, {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus"}) == []


def test_no_user_manager_says_how_to_have_one(module_host: Host) -> None:
    module_host.add_user("bob", linger=False)
    answer = ask_bare(module_host, "bob", {})
    assert answer["error"] == "NoManager"
    assert answer["hint"].startswith("loginctl enable-linger bob")


def test_an_ordinary_user_may_look_at_the_systems_workers_but_make_none(module_host: Host, ann: str) -> None:
    script = (
        "import asyncio\n"
        "from rbee.adapters.systemd.bus import Bus\n"
        "from rbee.errors import NotPermitted\n"
        "from rbee.pool_core.unit import Mode\n"
        "bus = Bus(Mode.SYSTEM)\n"
        "bus.call(b'ListUnitsByPatterns', b'asas', [], [b'rbee-*'])\n"
        "try:\n"
        "    bus.call(b'StopUnit', b'ss', b'ssh.service', b'replace')\n"
        "except NotPermitted as error:\n"
        "    print(error.hint)\n"
    )
    done = module_host.run(["/usr/local/lib/rbee/bin/python", "-c", script], user=ann)
    assert done.stdout == 'run this as root, or set [pool] mode = "user"\n'
