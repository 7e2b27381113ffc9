"""A change goes round the house host by host; those who use it notice nothing, and a broken one stops it."""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator

import pytest

from rbee import __version__
from rbee.client.queen import QueenClient
from rbee.wire.jobs import JobSpec
from tests.fleet.house import CONFIG, NAMES, House
from tests.rig.waiting import PATIENCE, wait_for

CHANGE = "systemctl stop 'rbee-worker-*.socket' 'rbee-worker-*.service'; systemctl restart rbee-pool.service"


class Users:
    """Two people who ask the queen one thing after the other, on fresh connections, until told to stop."""

    def __init__(self, house: House) -> None:
        self.done = 0
        self.pools: dict[str, int] = {}
        self.failures: list[str] = []
        self._house = house
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(2)]

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _run(self) -> None:
        with self._house.lab("blep").network():
            asyncio.run(self._ask())

    async def _ask(self) -> None:
        spec = JobSpec(model="tiny", prompt="hello", max_tokens=12, ignore_eos=True)
        while not self._stop.is_set():
            try:
                async with self._house.lab("blep").http(source="queen", timeout_s=60) as http:
                    queen = QueenClient(http)
                    job = await queen.submit_job(spec)
                    async for _ in queen.job_events(job.id):
                        pass
                    ended = await queen.get_job(job.id)
            except Exception as error:  # noqa: BLE001  (whatever it is, somebody was let down)
                self.failures.append(repr(error))
                continue
            if ended.state.value != "completed":
                self.failures.append(f"{ended.id} {ended.state} {ended.error}")
            with self._counting:
                self.done += 1
                self.pools[ended.pool or ""] = self.pools.get(ended.pool or "", 0) + 1


@pytest.fixture(scope="module")
def fleet(house: House) -> Iterator[House]:
    house.rbee("orchestrator", "listen", "8080")
    for name in NAMES:
        house.rbee("pool", "register", name)
    yield house


def states(house: House) -> dict[str, str]:
    return {pool["id"]: pool["state"] for pool in house.rbee_json("pool", "list")}


def settled(house: House) -> dict[str, str]:
    """Return the states once no pool is lost, which on a busy machine one may be for a moment."""

    def found() -> dict[str, str]:
        now = states(house)
        return {} if "lost" in now.values() else now

    return wait_for(found, "no pool to be lost", 20)


def test_a_rolling_change_of_all_hosts_fails_no_job(fleet: House) -> None:
    with Users(fleet) as users:
        wait_for(lambda: users.done > 5, "a few jobs", 60)
        done = fleet.rbee("pool", "rollout", "--host", "all", "--", "ssh", "{host}", CHANGE, timeout=400)
        after = users.done
        wait_for(lambda: users.done > after + 3, "a few jobs more", 60)
    assert users.failures == []
    assert sum(users.pools.values()) == users.done
    for name in NAMES:
        said = [line for line in done.stdout.splitlines() if line.startswith(f"{name}  ")]
        assert [line.split("  ")[1].split()[0] for line in said] == ["drained", "back", "verified", "tiny", "takes"]
    assert set(settled(fleet).values()) == {"ready"}


def test_it_stops_at_the_first_failure_and_goes_on_from_there(fleet: House) -> None:
    mark = "/run/changed"
    argv = ["ssh", "{host}", f"[ ! -e /run/refuse ] && touch {mark}"]
    fleet.hosts["workstation"].write("/run/refuse", "")
    done = fleet.rbee("pool", "rollout", *fleet.on("mac", "workstation", "blep"), "--", *argv, check=False, timeout=300)
    assert done.returncode == 1
    assert "workstation: running the command: ssh exited 1" in done.stderr
    assert "rollout --resume; till then workstation stays drained, or: rbee-keeper pool undrain work" in done.stderr
    assert settled(fleet) == {"mac": "ready", "workstation": "draining", "blep": "ready"}
    changed = {name: fleet.hosts[name].run(["test", "-e", mark], check=False).returncode == 0 for name in NAMES}
    assert changed == {"mac": True, "workstation": False, "blep": False}

    fleet.hosts["mac"].run(["rm", mark])
    fleet.hosts["workstation"].run(["rm", "/run/refuse"])
    resumed = fleet.rbee("pool", "rollout", "--resume", "--format", "json", timeout=300)
    assert [row["id"] for row in json.loads(resumed.stdout)] == ["workstation", "blep"]
    assert set(settled(fleet).values()) == {"ready"}
    assert fleet.hosts["mac"].run(["test", "-e", mark], check=False).returncode == 1, "it was through already"

    nothing = fleet.rbee("pool", "rollout", "--resume", check=False)
    assert (nothing.returncode, "no rollout has stopped" in nothing.stderr) == (66, True)


def test_there_is_one_at_a_time_and_an_interrupted_one_says_how_to_go_on(fleet: House) -> None:
    with fleet.begin("pool", "rollout", "--host", "mac", "--", "sh", "-c", "echo waits; sleep 1000") as command:
        wait_for(lambda: states(fleet)["mac"] == "draining", "the drain", 60)
        another = fleet.rbee("pool", "rollout", "--host", "workstation", "--", "true", check=False)
        assert (another.returncode, "another rollout or deploy runs on this machine" in another.stderr) == (73, True)
        assert settled(fleet)["workstation"] == "ready"
        assert any(line.endswith("waits\n") for line in command.stderr), "it is at the command"
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=60 * PATIENCE)
    assert command.returncode == 130
    assert "mac: interrupted: running the command\n" in err
    assert (
        "hint: rbee-keeper pool rollout --resume; till then mac stays drained, or: rbee-keeper pool undrain mac" in err
    )
    fleet.rbee("pool", "undrain", "mac")
    fleet.blep.run(["rm", "/var/lib/rbee/rollout.json"])


UPGRADE = (
    "f=$(/usr/local/lib/rbee/bin/python -c 'import rbee; print(rbee.__file__)');"
    ' sed -i \'s/^__version__ = ".*"/__version__ = "{version}"/\' $f; systemctl restart rbee-pool'
)


def test_a_house_is_upgraded_host_by_host_whoever_is_first(fleet: House) -> None:
    """A keeper of the old version upgrades mac, then, upgraded itself, workstation."""
    new, old = UPGRADE.replace("{version}", "0.2.0"), UPGRADE.replace("{version}", __version__)
    try:
        fleet.rbee("pool", "rollout", "--host", "mac", "--", "ssh", "{host}", new, timeout=120)
        assert "0.2.0" in fleet.hosts["mac"].run(["rbee-hive", "--version"]).stdout
        fleet.blep.run(["bash", "-c", f"{new} rbee-queen"])
        assert "rbee-hive there is" in fleet.rbee("pool", "state", "--host", "workstation", check=False).stderr
        fleet.rbee("pool", "rollout", "--host", "workstation", "--", "ssh", "{host}", new, timeout=120)
        assert {pool["version"] for pool in fleet.rbee_json("pool", "list")} == {"0.2.0"}
    finally:
        for host in fleet.hosts.values():
            host.run(["bash", "-c", f"{old} rbee-queen"])
    wait_for(lambda: set(states(fleet).values()) == {"ready"}, "the house as it was", 30)


def test_what_was_wrong_before_stops_nothing_and_a_slow_boot_is_waited_for(fleet: House) -> None:
    mac = fleet.hosts["mac"]
    mac.run(["systemd-run", "--unit=sickly", "--wait", "false"], check=False)
    slow = "[Service]\nType=oneshot\nExecStart=/bin/sleep 8\n[Install]\nWantedBy=multi-user.target\n"
    mac.write("/etc/systemd/system/slow.service", slow)
    mac.run(["systemctl", "enable", "slow.service"])
    boots = mac.boots
    try:
        reboot = ["sh", "-c", "ssh {host} 'systemctl reset-failed; reboot'; true"]
        with fleet.begin("pool", "rollout", "--host", "mac", "--", *reboot) as command:
            mac.await_boot(boots + 1)
            out, err = command.communicate(timeout=200 * PATIENCE)
        assert command.returncode == 0, err
        assert "verified; what failed before: system.no_other_unit_failed" in out
    finally:
        mac.run(["systemctl", "disable", "slow.service"])
        mac.run(["rm", "/etc/systemd/system/slow.service"])


def test_a_stopped_one_is_not_forgotten_unasked(fleet: House) -> None:
    stopped = fleet.rbee("pool", "rollout", *fleet.on("mac", "blep"), "--format", "json", "--", "false", check=False)
    [row] = json.loads(stopped.stdout)
    assert (stopped.returncode, row["id"], row["ok"], row["error"]["code"]) == (1, "mac", False, "rollout_stopped")
    another = fleet.rbee("pool", "rollout", "--host", "workstation", "--", "true", check=False)
    assert another.returncode == 73
    assert "a rollout has stopped at mac, with 2 of its hosts to go" in another.stderr
    asked = fleet.rbee("pool", "undrain", "--host", "mac")
    assert "the queen still drains mac: rbee-keeper pool undrain mac" in asked.stderr
    fleet.rbee("pool", "rollout", "--host", "mac", "--yes", "--", "true", timeout=120)
    assert settled(fleet)["mac"] == "ready"


def test_a_command_that_asks_is_answered_by_nobody_and_stops_it(fleet: House) -> None:
    asking = ["sh", "-c", "echo 'Go on? [Y/n]'; read answer || { echo nobody there >&2; exit 3; }"]
    done = fleet.rbee("pool", "rollout", "--host", "mac", "--", *asking, check=False)
    assert done.returncode == 1
    assert "mac: running the command: sh exited 3: nobody there" in done.stderr
    fleet.rbee("pool", "rollout", "--host", "mac", "--yes", "--", "true", timeout=120)


def test_a_host_that_is_no_pool_is_left_alone(fleet: House) -> None:
    fleet.rbee("pool", "remove", "mac", "--yes")
    fleet.blep.write(CONFIG, fleet.blep.read(CONFIG) + '[hosts.mac]\nssh = "mac"\n')
    fleet.rbee("pool", "start", "--host", "mac")
    try:
        done = fleet.rbee("pool", "rollout", "--host", "mac", "--", "false", check=False)
        assert done.returncode == 1
        assert "mac: looking at it: no pool mac is registered" in done.stderr
        assert "hint: rbee-keeper pool register mac; then rbee-keeper pool rollout --resume\n" in done.stderr
    finally:
        fleet.rbee("pool", "register", "mac")
        fleet.blep.run(["rm", "/var/lib/rbee/rollout.json"])
    assert settled(fleet)["mac"] == "ready"


def test_a_reboot_is_waited_for(fleet: House) -> None:
    mac = fleet.hosts["mac"]
    boots = mac.boots
    with fleet.begin("pool", "rollout", "--host", "mac", "--", "sh", "-c", "ssh {host} reboot; true") as command:
        mac.await_boot(boots + 1)
        out, err = command.communicate(timeout=200 * PATIENCE)
    assert command.returncode == 0, err
    assert "mac  takes work again" in out
    assert settled(fleet)["mac"] == "ready"


def test_a_host_that_fails_verification_gets_no_work(fleet: House) -> None:
    abandoned = "/var/lib/rbee/models/half.gguf.partial"
    break_it = f"touch -d '2 days ago' {abandoned}"
    done = fleet.rbee("pool", "rollout", "--host", "mac", "--", "ssh", "{host}", break_it, check=False, timeout=300)
    assert done.returncode == 1
    assert "mac: verifying: " in done.stderr
    assert settled(fleet)["mac"] == "draining"
    again = fleet.rbee("pool", "rollout", "--resume", check=False, timeout=300)
    assert "mac: verifying: " in again.stderr, "what the command broke is not what was wrong before"
    fleet.hosts["mac"].run(["rm", abandoned])
    fleet.rbee("pool", "undrain", "mac")
    fleet.blep.run(["rm", "/var/lib/rbee/rollout.json"])
    assert settled(fleet)["mac"] == "ready"
