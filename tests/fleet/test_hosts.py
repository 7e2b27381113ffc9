"""rbee-keeper pool … --host: many hosts at once, and every way in which one of them may fail."""

import json
import signal
import time

import pytest

from rbee.keeper.hosts import from_here
from tests.fleet.house import CONFIG, NAMES, House
from tests.rig.waiting import PATIENCE, wait_for


def lines(text: str) -> dict[str, str]:
    """Return what was said of each host."""
    return {line.split()[0]: line.partition("  ")[2].strip() for line in text.splitlines() if line.strip()}


# Units


def test_status_is_a_line_for_each_host(house: House) -> None:
    said = lines(house.rbee("pool", "status", "--host", "all").stdout)
    assert set(said) == set(NAMES)


def test_start_stop_and_restart_are_systemctl_there(house: House) -> None:
    unit = "rbee-pool.service"
    assert house.rbee("pool", "start", *house.on("mac", "workstation")).returncode == 0
    assert house.lab("mac").show(unit, "ActiveState") == "active"
    before = house.lab("mac").pid(unit)
    said = lines(house.rbee("pool", "restart", *house.on("mac")).stdout)
    assert said == {"mac": "rbee-pool restarted"}
    assert house.lab("mac").pid(unit) not in (0, before)
    house.rbee("pool", "stop", "--host", "mac")
    assert house.lab("mac").show("rbee-pool.socket", "ActiveState") == "inactive"
    assert "inactive" in house.rbee("pool", "status", "--host", "mac").stdout
    house.rbee("pool", "start", "--host", "mac")
    assert lines(house.rbee("pool", "status", *house.on("mac", "blep")).stdout)["mac"].startswith("active (running)")


def test_the_status_of_one_host_is_whole(house: House) -> None:
    house.rbee("pool", "start", "--host", "mac")
    shown = house.rbee("pool", "status", "--host", "mac").stdout
    assert "active (running)" in shown
    assert "queen" in shown
    document = house.rbee_json("pool", "status", "--host", "mac")
    assert [(row["id"], row["ok"], row["result"]["state"]) for row in document] == [("mac", True, "active")]


def test_logs_come_from_the_journals_there(house: House) -> None:
    house.rbee("pool", "restart", "--host", "mac")
    shown = house.rbee("pool", "logs", "--host", "mac", "--host", "workstation", "--lines=5").stdout
    assert {line.split()[0] for line in shown.splitlines()} == {"mac", "workstation"}
    logs = ("pool", "logs", "--host", "mac")
    wait_for(lambda: "daemon.ready" in house.rbee(*logs).stdout, "journald to take it in")


def test_a_dry_run_does_nothing(house: House) -> None:
    said = house.rbee("pool", "stop", "--host", "mac", "--dry-run").stdout
    assert said == "would stop rbee-pool on mac\n"
    assert house.lab("mac").show("rbee-pool.socket", "ActiveState") == "active"


# The pool's own operations, over ssh and over HTTP


@pytest.mark.parametrize("words", [("state",), ("gpu", "status"), ("models", "info", "tiny")])
def test_an_answer_is_the_hosts_own(house: House, words: tuple[str, ...]) -> None:
    [row] = house.rbee_json("pool", *words, "--host", "mac")
    own = house.lab("mac").hive_json(*(("status",) if words == ("state",) else words))
    assert row["result"].keys() == own.keys()
    assert row["result"].get("id") == own.get("id")


def test_lists_of_all_hosts_are_one_table(house: House) -> None:
    shown = house.rbee("pool", "models", "list", "--host", "all").stdout.splitlines()
    assert shown[0].split()[:2] == ["HOST", "MODEL"]
    assert [line.split()[:2] for line in shown[1:] if " tiny " in line] == [[name, "tiny"] for name in NAMES]


def test_a_worker_lives_and_ends_on_another_host(house: House) -> None:
    spawned = house.rbee("pool", "worker", "spawn", "cpu", "--model", "tiny", *house.on("mac", "workstation"))
    assert set(lines(spawned.stdout)) == {"mac", "workstation"}
    assert house.lab("mac").show("rbee-worker-cpu-0.service", "ActiveState") == "active"
    rows = house.rbee_json("pool", "worker", "list", "--host", "mac")
    assert [worker["id"] for worker in rows[0]["result"]] == ["worker-cpu-0"]
    logs = ("pool", "worker", "logs", "worker-cpu-0", "--host", "mac")
    wait_for(lambda: "ready" in house.rbee(*logs).stdout, "journald to take it in")
    refused = house.rbee("pool", "worker", "stop", "worker-cpu-0", "--host", "mac", check=False)
    assert (refused.returncode, "--yes" in refused.stderr) == (64, True)
    house.rbee("pool", "worker", "stop", "worker-cpu-0", "--yes", *house.on("mac", "workstation"))
    assert house.lab("mac").units("rbee-worker-*") == set()


def test_errors_are_the_hosts_own(house: House) -> None:
    for words in (("models", "info", "nothing"), ("worker", "status", "nobody")):
        code, own = house.lab("mac").refused("rbee-hive", *words)
        done = house.rbee("pool", *words, "--host", "mac", "--format", "json", check=False)
        [row] = json.loads(done.stdout)
        assert (done.returncode, row["ok"]) == (code, False)
        assert {key: row["error"][key] for key in ("code", "message")} == {key: own[key] for key in ("code", "message")}
        assert row["error"]["hint"] == from_here(own["hint"], "mac")


def test_draining_at_the_host_is_seen_there(house: House) -> None:
    house.rbee("pool", "drain", "--host", "mac")
    assert house.rbee_json("pool", "state", "--host", "mac")[0]["result"]["draining"]
    house.rbee("pool", "undrain", "--host", "mac")
    assert not house.rbee_json("pool", "state", "--host", "mac")[0]["result"]["draining"]


# Arguments are data


@pytest.mark.parametrize("name", ["$(touch /tmp/pwned)", "`touch /tmp/pwned`", "a; touch /tmp/pwned", "a' b\"c\\d|&"])
def test_shell_characters_in_names_arrive_as_data(house: House, name: str) -> None:
    for words in (("models", "info"), ("models", "verify"), ("worker", "status"), ("models", "import")):
        path = f"/var/lib/rbee/models/{name}.gguf" if words[1] == "import" else name
        done = house.rbee("pool", *words, path, "--host", "mac", "--format", "json", check=False)
        [row] = json.loads(done.stdout)
        assert not row["ok"]
        assert row["error"]["code"] != "internal"
        assert done.returncode in (64, 66)
    done = house.rbee("pool", "status", "--host", name, check=False)
    assert (done.returncode, "no host" in done.stderr) == (66, True)
    assert not (house.hosts["mac"].root / "tmp/pwned").exists()
    assert not (house.blep.root / "tmp/pwned").exists()


def test_exec_passes_arguments_and_the_exit_code_on(house: House) -> None:
    done = house.rbee("pool", "exec", "--host", "mac", "--", "printf", "%s|", "a b", "$HOME", "*")
    assert done.stdout.strip() == "a b|$HOME|*|"
    assert house.rbee("pool", "exec", "--host", "mac", "--", "sh", "-c", "exit 42", check=False).returncode == 42
    silent = house.rbee("pool", "exec", *house.on("mac", "workstation"), "--", "test", "-e", "/nothing", check=False)
    assert (silent.returncode, sorted(silent.stderr.splitlines())) == (
        1,
        ["mac          exit 1", "workstation  exit 1"],
    )
    several = house.rbee("pool", "exec", *house.on("mac", "workstation"), "--", "hostname")
    assert lines(several.stdout) == {"mac": "mac", "workstation": "workstation"}


def test_a_reader_that_leaves_ends_the_command_there_and_is_no_failure(house: House) -> None:
    both = " ".join(house.on("mac", "workstation"))
    silent = "logs --host mac --follow --lines 1"  # no second write finds out
    for words in (f"exec {both} -- yes", f"logs {both} --follow", silent, f"status {both}"):
        script = f"rbee pool {words} | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}"
        done = house.blep.run(["bash", "-c", script], check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, ""), words
    for name in ("mac", "workstation"):
        host = house.hosts[name]
        wait_for(lambda host=host: host.run(["pgrep", "yes|journalctl"], check=False).returncode == 1, "the end", 20)


def test_a_line_may_be_as_long_as_it_likes(house: House) -> None:
    command = ["python3", "-c", "print('x' * 20_000_000, end='')"]
    said = house.rbee("pool", "exec", "--host", "mac", "--", *command).stdout
    assert said.count("x") == 20_000_000


# Failures


def failing(house: House, *words: str) -> tuple[int, str, str]:
    done = house.rbee(*words, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("connection", "within_s"), [("new", 20), ("kept", 35)])
def test_a_dead_host_hides_nobody_and_gives_its_own_sentence(house: House, connection: str, within_s: float) -> None:
    """A connection that ssh has kept open has to be given up first."""
    house.rbee("pool", "status", "--host", "all")
    if connection == "new":
        house.end_connections()
    house.hosts["mac"].cut_link()
    try:
        began = time.monotonic()
        code, out, err = failing(house, "pool", "status", "--host", "all")
        assert time.monotonic() - began < within_s
    finally:
        house.hosts["mac"].restore_link()
    assert set(lines(out)) == {"blep", "workstation"}
    assert "rbee-keeper mac:" in err
    assert ("did not answer ssh within 10 s" in err and code == 75) or ("cannot be reached" in err and code == 69)
    assert "hint: is it on, and on this network? ping mac" in err


def test_each_failure_of_ssh_is_a_sentence_with_a_next_step(house: House) -> None:
    mac = house.hosts["mac"]

    mac.run(["systemctl", "stop", "ssh.service"])
    house.blep.run(["sh", "-c", "for s in /run/rbee-keeper/*; do rm -f $s; done"])
    code, _, err = failing(house, "pool", "status", "--host", "mac")
    assert (code, "mac refuses ssh on port 22" in err, "hint: systemctl start ssh" in err) == (69, True, True)
    mac.run(["systemctl", "start", "ssh.service"])

    keys = mac.read("/root/.ssh/authorized_keys")
    mac.write("/root/.ssh/authorized_keys", "", mode=0o600)
    code, _, err = failing(house, "pool", "status", "--host", "mac")
    assert (code, "permission denied" in err, "ssh-copy-id mac" in err) == (77, True, True)
    mac.write("/root/.ssh/authorized_keys", keys, mode=0o600)

    known = house.blep.read("/root/.ssh/known_hosts")
    house.blep.write("/root/.ssh/known_hosts", "", mode=0o600)
    code, _, err = failing(house, "pool", "status", "--host", "mac")
    assert (code, "host key of mac is not known yet" in err) == (77, True)
    blep_key, mac_key = (known.splitlines()[n].split(" ", 1)[1] for n in (0, 2))
    house.blep.write("/root/.ssh/known_hosts", known.replace(mac_key, blep_key), mode=0o600)
    code, _, err = failing(house, "pool", "status", "--host", "mac")
    assert (code, "another host key" in err, "ssh-keygen -R mac" in err) == (77, True, True)
    house.blep.write("/root/.ssh/known_hosts", known, mode=0o600)

    house.blep.write(CONFIG, house.blep.read(CONFIG) + '[hosts.nowhere]\nssh = "nowhere.home.arpa"\n')
    code, _, err = failing(house, "pool", "status", "--host", "nowhere")
    assert (code, "no such host, 'nowhere.home.arpa' cannot be resolved" in err) == (69, True)
    house.configure()

    mac.run(["mv", "/usr/local/bin/rbee-hive", "/usr/local/bin/rbee-hive.away"])
    code, _, err = failing(house, "pool", "state", "--host", "mac")
    assert (code, "rbee-hive is missing on mac: rbee is not installed there" in err) == (66, True)
    mac.write("/usr/local/bin/rbee-hive", "#!/bin/sh\necho 'Welcome to mac!'\nexec rbee-hive.away \"$@\"\n", mode=0o755)
    code, _, err = failing(house, "pool", "state", "--host", "mac")
    assert (code, "answered what is no answer of ours" in err, "Welcome to mac!" in err) == (69, True, True)
    mac.write(
        "/usr/local/bin/rbee-hive",
        '#!/bin/sh\nRBEE_CALLER_VERSION=9.9.9 exec rbee-hive.away "$@"\n',
        mode=0o755,
    )
    code, _, err = failing(house, "pool", "state", "--host", "mac")
    assert (code, "the rbee-keeper that asks is 9.9.9" in err) == (78, True)
    mac.run(["mv", "/usr/local/bin/rbee-hive.away", "/usr/local/bin/rbee-hive"])
    assert failing(house, "pool", "state", "--host", "mac")[0] == 0


def test_sshd_that_accepts_and_says_nothing_is_a_timeout(house: House) -> None:
    house.blep.write(CONFIG, house.blep.read(CONFIG) + '[hosts.mute]\nssh = "ssh://root@mac:2222"\n')
    script = "import socket, time; s = socket.create_server(('', 2222)); print('up', flush=True); time.sleep(60)"
    with house.hosts["mac"].popen(["python3", "-c", script]) as mute:
        assert mute.stdout is not None
        mute.stdout.readline()
        code, _, err = failing(house, "pool", "status", "--host", "mute")
        mute.kill()
    house.configure()
    assert (code, "did not answer ssh within 10 s" in err) == (75, True)


def test_ctrl_c_ends_the_command_there_too(house: House) -> None:
    mac = house.hosts["mac"]
    with house.begin("pool", "exec", "--host", "mac", "--", "sh", "-c", "echo $$; sleep 1000 & wait") as command:
        assert command.stdout is not None
        there = command.stdout.readline().strip()
        command.send_signal(signal.SIGINT)
        assert command.wait(15 * PATIENCE) == 130
    wait_for(lambda: mac.run(["kill", "-0", there], check=False).returncode != 0, "the command on mac to end", 10)
    wait_for(lambda: mac.run(["pgrep", "-f", "sleep 1000"], check=False).stdout == "", "what it began to end", 10)


def test_a_killed_keeper_ends_the_command_there_too(house: House) -> None:
    mac = house.hosts["mac"]
    with house.begin("pool", "logs", "--host", "mac", "--follow") as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.kill()
        command.wait(15 * PATIENCE)
    wait_for(lambda: mac.run(["pgrep", "-x", "journalctl"], check=False).stdout == "", "journalctl to end", 10)


def test_sudo_is_used_where_root_may_not_log_in(house: House) -> None:
    mac = house.hosts["mac"]
    mac.run(["useradd", "--create-home", "--shell", "/bin/bash", "ann"])
    mac.write("/home/ann/.ssh/authorized_keys", house.blep.read("/root/.ssh/id_ed25519.pub"), mode=0o600, owner="ann")
    mac.run(["chown", "ann:", "/home/ann/.ssh"])
    house.blep.write(CONFIG, house.blep.read(CONFIG) + '[hosts.asann]\nssh = "ann@mac"\n')
    code, _, err = failing(house, "pool", "restart", "--host", "asann")
    assert (code, "you may not restart rbee-pool.service" in err) == (77, True)
    house.configure()
