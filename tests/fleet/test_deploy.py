"""NixOS hosts are switched one by one, and those who use them notice nothing; a broken one stops it, or goes back."""

import json
import shlex
import signal
from collections.abc import Iterator

import pytest

from tests.fleet.house import House
from tests.fleet.nixos import HOUSE, REBUILD, Nixos
from tests.rig.waiting import PATIENCE, wait_for

NAMES = ("mac", "workstation")
BREAK = "touch -d '2 days ago' /var/lib/rbee/models/half.gguf.partial"
MEND = "rm -f /var/lib/rbee/models/half.gguf.partial"
UNIT = "nixos-rebuild-switch-to-configuration"


@pytest.fixture(scope="module")
def registered(house: House) -> House:
    house.rbee("orchestrator", "listen", "8080")
    for name in NAMES:
        house.rbee("pool", "register", name)
    return house


@pytest.fixture(scope="module")
def made(registered: House) -> Nixos:
    nixos = Nixos(registered, NAMES)
    nixos.set_up()
    return nixos


@pytest.fixture
def nixos(made: Nixos) -> Iterator[Nixos]:
    """Every test begins with sound hosts that have work, and nothing to resume."""
    made.give_rebuild()
    yield made
    made.forget()
    for name in NAMES:
        made.host(name).run(["systemctl", "stop", UNIT], check=False)
        made.host(name).run(["sh", "-c", MEND])
    made.house.rbee("pool", "undrain", *made.house.on(*NAMES))
    for name, state in states(made).items():
        if state != "ready":
            made.house.rbee("pool", "undrain", name)


def states(nixos: Nixos) -> dict[str, str]:
    """Return the pools' states; blep's own, which is there without being asked for, is no matter here."""
    return {pool["id"]: pool["state"] for pool in nixos.house.rbee_json("pool", "list") if pool["id"] in NAMES}


def settled(nixos: Nixos) -> dict[str, str]:
    """Return the states once no pool is lost, which on a busy machine one may be for a moment."""

    def found() -> dict[str, str]:
        now = states(nixos)
        return {} if "lost" in now.values() else now

    return wait_for(found, "no pool to be lost", 20)


def words(said: str, name: str) -> list[str]:
    """Return the first word of each thing said of a host."""
    return [line.split()[1] for line in said.splitlines() if line.startswith(f"{name}  ")]


def test_hosts_are_switched_one_by_one_and_workers_go_on(nixos: Nixos) -> None:
    wanted = {name: nixos.define(name, "true one") for name in NAMES}
    nixos.house.rbee("pool", "worker", "spawn", "cpu", "--model", "tiny", "--id", "w", "--host", "mac")
    before = nixos.host("mac").unit_property("rbee-worker-w.service", "MainPID")
    done = nixos.deploy(*nixos.house.on(*NAMES))
    for name in NAMES:
        assert words(done.stdout, name) == ["has", "drained", "back", "verified", "tiny", "takes"]
        assert nixos.runs(name) == nixos.boots(name) == wanted[name]
        assert f"{name}  | would restart the following units: rbee-pool.service" in done.stderr
        assert f"{name}  | restarting the following units: rbee-pool.service" in done.stderr
    assert nixos.asked() == [
        f"{action} --flake {HOUSE}#{name} --target-host {name} --use-substitutes"
        for name in NAMES
        for action in ("dry-activate", "switch")
    ]
    assert "-o BatchMode=yes -o StrictHostKeyChecking=yes" in nixos.house.blep.read("/var/log/nixos-rebuild.ssh")
    assert nixos.host("mac").unit_property("rbee-worker-w.service", "MainPID") == before
    assert settled(nixos) == {"mac": "ready", "workstation": "ready"}


def test_a_dry_run_builds_and_says_and_changes_nothing(nixos: Nixos) -> None:
    now, wanted = nixos.runs("mac"), nixos.define("mac", "true dry")
    done = nixos.deploy("--host", "mac", "--dry-run")
    assert done.stdout == f"mac  would run {wanted}; now it runs {now}\n"
    assert "mac  | would restart the following units: rbee-pool.service" in done.stderr
    assert (nixos.runs("mac"), nixos.boots("mac"), settled(nixos)["mac"]) == (now, now, "ready")
    assert nixos.asked() == [f"dry-activate --flake {HOUSE}#mac --target-host mac --use-substitutes"]
    [row] = json.loads(nixos.deploy("--host", "mac", "--dry-run", "--format", "json").stdout)
    assert row == {"id": "mac", "runs": now, "would_run": wanted, "dry_run": True}
    assert nixos.resume(check=False).returncode == 66, "there is nothing to go on with"


@pytest.mark.parametrize(
    ("flake", "code", "says"),
    [
        (f"{HOUSE}#blep", 78, f"nixosConfigurations.blep of {HOUSE} has services.rbee.pool.enable = false"),
        (f"{HOUSE}#bare", 78, f"nixosConfigurations.bare of {HOUSE} has no services.rbee.pool.enable"),
        (f"{HOUSE}#broken", 78, "cannot be evaluated: Failed assertions: the ports are equal"),
        (f"{HOUSE}#cellar", 66, f"no cellar in nixosConfigurations of {HOUSE}; there are: bare, blep, broken, mac"),
        ("/root", 66, "no flake at /root: there is no flake.nix in it"),
        (f"{HOUSE}/../nowhere", 66, "no flake at /root/nowhere: there is no such folder"),
        ("--impure", 64, "--flake is '--impure'"),
    ],
)
def test_what_is_not_meant_for_the_host_is_refused_before_anything(
    nixos: Nixos, flake: str, code: int, says: str
) -> None:
    now = nixos.runs("mac")
    done = nixos.house.rbee("pool", "deploy", "--host", "mac", f"--flake={flake}", check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "\nhint: " in done.stderr or code == 64
    assert (nixos.asked(), nixos.runs("mac"), settled(nixos)["mac"]) == ([], now, "ready")


def test_a_configuration_that_is_called_otherwise_is_one_hosts(nixos: Nixos) -> None:
    many = nixos.house.rbee("pool", "deploy", *nixos.house.on(*NAMES), f"--flake={HOUSE}#one", check=False)
    assert (many.returncode, "#one is the configuration of one host" in many.stderr) == (64, True)
    nixos.house.rbee("pool", "deploy", "--host", "mac", f"--flake={HOUSE}#one", timeout=200)
    assert nixos.asked()[-1] == f"switch --flake {HOUSE}#one --target-host mac --use-substitutes"


def test_a_switch_that_fails_leaves_it_drained_with_a_way_back_and_a_way_on(nixos: Nixos) -> None:
    nixos.define("mac", "true sound")
    nixos.install("mac")
    sound, broken = (
        nixos.runs("mac"),
        nixos.define("mac", "echo 'warning: the following units failed: x.service'; exit 4"),
    )
    done = nixos.deploy(*nixos.house.on("mac", "workstation"), check=False)
    assert done.returncode == 1
    assert (
        "mac: switching: nixos-rebuild switch exited 4: warning: the following units failed: x.service" in done.stderr
    )
    assert settled(nixos) == {"mac": "draining", "workstation": "ready"}
    back = "nixos-rebuild switch --rollback --target-host mac"
    assert done.stderr.splitlines()[-1] == (
        "hint: mend it; then rbee-keeper pool deploy --resume; "
        f"or have it as it was: {back}; till then mac stays drained, or: rbee-keeper pool undrain mac"
    )
    assert nixos.boots("mac") == broken
    nixos.house.blep.run(["env", "NIX_SSHOPTS=-o BatchMode=yes", *shlex.split(back)])
    assert nixos.runs("mac") == nixos.boots("mac") == sound

    mended = nixos.define("mac", "true mended")
    resumed = json.loads(nixos.resume("--format", "json").stdout)
    assert [row["id"] for row in resumed] == ["mac", "workstation"]
    assert nixos.runs("mac") == mended
    assert set(settled(nixos).values()) == {"ready"}


def test_a_switch_that_switched_to_something_else_is_found_out(nixos: Nixos) -> None:
    now, wanted = nixos.runs("mac"), nixos.define("mac", f"ln -sfn {nixos.runs('mac')} /run/current-system")
    done = nixos.deploy("--host", "mac", check=False)
    assert done.returncode == 1
    assert f"mac: verifying: expected {wanted}, and it runs {now} and boots {wanted}" in done.stderr
    assert settled(nixos)["mac"] == "draining"


def test_one_that_does_not_get_through_is_taken_back_and_works_again(nixos: Nixos) -> None:
    nixos.define("mac", MEND)
    nixos.install("mac")
    sound = nixos.runs("mac")
    nixos.define("mac", BREAK)
    done = nixos.deploy(*nixos.house.on("mac", "workstation"), "--auto-rollback", check=False)
    assert done.returncode == 1
    assert "mac: verifying: 1 check failed: " in done.stderr
    assert f"; it was taken back to {sound}, and takes work again" in done.stderr
    assert "stays drained" not in done.stderr
    assert nixos.runs("mac") == nixos.boots("mac") == sound
    assert settled(nixos) == {"mac": "ready", "workstation": "ready"}
    assert not any("workstation" in line for line in nixos.asked())


def test_a_new_kernel_waits_for_a_reboot_and_is_nobodys_failure(nixos: Nixos) -> None:
    nixos.give_kernel("6.18")
    wanted = nixos.define("mac", "true kernel")
    try:
        done = nixos.deploy("--host", "mac", "--auto-rollback")
        assert "mac  verified; its new kernel waits for a reboot\n" in done.stdout
        assert nixos.runs("mac") == wanted
    finally:
        nixos.give_kernel("6.12")
    nixos.define("mac", "true older kernel")
    nixos.deploy("--host", "mac")


def test_a_host_that_is_being_switched_is_left_alone(nixos: Nixos) -> None:
    now, wanted = nixos.runs("mac"), nixos.define("mac", "true another")
    nixos.host("mac").run(["systemd-run", f"--unit={UNIT}-0badcafe", "sleep", "1000"])
    try:
        done = nixos.deploy("--host", "mac", check=False)
        assert done.returncode == 1
        assert f"mac: preparing: mac is being switched already: {UNIT}-0badcafe.service runs there" in done.stderr
        assert f"ssh mac journalctl -fu {UNIT}-0badcafe.service; then rbee-keeper pool deploy --resume" in done.stderr
        assert (nixos.asked(), nixos.runs("mac"), settled(nixos)["mac"]) == ([], now, "ready")
    finally:
        nixos.host("mac").run(["systemctl", "stop", f"{UNIT}-0badcafe"])
    nixos.resume()
    assert nixos.runs("mac") == wanted


def test_without_nixos_rebuild_nix_and_ssh_do_the_same(nixos: Nixos) -> None:
    nixos.take_rebuild()
    now, wanted = nixos.runs("mac"), nixos.define("mac", "true by hand")
    dry = nixos.deploy("--host", "mac", "--dry-run")
    assert dry.stdout == f"mac  would run {wanted}; now it runs {now}\n"
    assert nixos.runs("mac") == nixos.boots("mac") == now
    done = nixos.deploy("--host", "mac")
    assert words(done.stdout, "mac") == ["has", "drained", "back", "verified", "tiny", "takes"]
    assert "mac  | restarting the following units: rbee-pool.service" in done.stderr
    assert nixos.runs("mac") == nixos.boots("mac") == wanted
    assert nixos.host("mac").read("/run/switched-in").strip() == f"{UNIT}.service"

    nixos.define("mac", "exit 4")
    failed = nixos.deploy("--host", "mac", check=False)
    assert "mac: switching: switch-to-configuration switch exited 4" in failed.stderr
    [_, back] = failed.stderr.splitlines()[-1].split("or have it as it was: ")
    nixos.house.blep.run(shlex.split(back.partition("; till then")[0]))
    assert nixos.runs("mac") == nixos.boots("mac") == wanted

    other = nixos.house.rbee("pool", "deploy", "--host", "mac", "--build-host", "mac", "--yes", check=False)
    assert (other.returncode, "--build-host is nixos-rebuild's" in other.stderr) == (64, True)


@pytest.mark.parametrize("rebuilds", [True, False])
def test_an_interrupted_switch_goes_on_there_and_is_not_begun_twice(nixos: Nixos, rebuilds: bool) -> None:
    if not rebuilds:
        nixos.take_rebuild()
    nixos.define("mac", "sleep 1000")
    with nixos.begin("--host", "mac") as command:
        wait_for(lambda: _does(nixos, "sleep 1000"), "a switch", 20)  # and nixos-rebuild is not needed any more
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=60 * PATIENCE)
    assert command.returncode == 130
    assert "mac: interrupted: switching\nhint: rbee-keeper pool deploy --resume; till then mac stays drained" in err
    wait_for(lambda: not nixos.house.blep.run(["pgrep", "-f", REBUILD], check=False).stdout, "nixos-rebuild to end", 20)
    assert nixos.host("mac").unit_property(f"{UNIT}.service", "ActiveState") == "active"
    again = nixos.resume(check=False)
    assert (again.returncode, "mac is being switched already" in again.stderr) == (1, True)
    nixos.host("mac").run(["systemctl", "stop", UNIT])
    assert settled(nixos)["mac"] == "draining"
    mended = nixos.define("mac", "true now")
    nixos.resume()
    assert (nixos.runs("mac"), settled(nixos)["mac"]) == (mended, "ready")


def test_a_switch_whose_keeper_is_gone_goes_on_to_its_end_though_it_has_more_to_say(nixos: Nixos) -> None:
    nixos.take_rebuild()
    wanted = nixos.define("mac", "mkfifo /run/gate; read -r _ </run/gate; echo still here; touch /run/went-on")
    mac = nixos.host("mac")
    with nixos.begin("--host", "mac") as command:
        wait_for(lambda: mac.run(["test", "-p", "/run/gate"], check=False).returncode == 0, "a switch", 20)
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=60 * PATIENCE)
    mac.run(["sh", "-c", "echo go on >/run/gate"])
    wait_for(lambda: mac.unit_property(f"{UNIT}.service", "ActiveState") == "inactive", "the switch to end", 60)
    assert mac.run(["ls", "/run/went-on"]).stdout
    assert nixos.runs("mac") == wanted
    assert "still here" in mac.journal("-o", "cat", f"_SYSTEMD_UNIT={UNIT}.service")


def _does(nixos: Nixos, command: str) -> bool:
    """Say whether mac runs that command."""
    return bool(nixos.host("mac").run(["pgrep", "-fx", command], check=False).stdout)


def test_a_deploy_and_a_rollout_do_not_resume_each_other(nixos: Nixos) -> None:
    nixos.define("mac", "exit 4")
    nixos.deploy("--host", "mac", check=False)
    rollout = nixos.house.rbee("pool", "rollout", "--resume", check=False)
    assert (rollout.returncode, "what has stopped is a deploy, at mac" in rollout.stderr) == (73, True)
    assert "hint: rbee-keeper pool deploy --resume\n" in rollout.stderr
    another = nixos.deploy("--host", "workstation", check=False)
    assert (another.returncode, "a deploy has stopped at mac, with 1 of its hosts to go" in another.stderr) == (
        73,
        True,
    )


def test_a_host_that_is_no_nixos_is_said_to_be_none(nixos: Nixos) -> None:
    nixos.host("mac").run(["mv", "/run/current-system", "/run/another"])
    try:
        done = nixos.deploy("--host", "mac", check=False)
    finally:
        nixos.host("mac").run(["mv", "/run/another", "/run/current-system"])
    assert (done.returncode, "mac: looking at it: mac is no NixOS host" in done.stderr) == (1, True)
    assert (nixos.asked(), settled(nixos)["mac"]) == ([], "ready")
