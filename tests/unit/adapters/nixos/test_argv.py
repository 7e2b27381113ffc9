import shlex

import pytest

from rbee.adapters.nixos import argv
from rbee.adapters.nixos.argv import Target
from rbee.adapters.nixos.flake import Flake

HOUSE = Flake(url="/home/me/house")
SYSTEM = "/nix/store/00000000000000000000000000000000-nixos-system-mac"
ROOT, PERSON = Target.of("root@mac", sudo=False), Target.of("me@mac", sudo=True)


def test_nixos_rebuild_is_told_the_host_and_how_to_get_there() -> None:
    assert argv.rebuild("switch", HOUSE, "mac", ROOT) == shlex.split(
        "nixos-rebuild switch --flake /home/me/house#mac --target-host root@mac --use-substitutes"
    )
    assert argv.rebuild("dry-activate", HOUSE, "mac", PERSON, build_host="work") == shlex.split(
        "nixos-rebuild dry-activate --flake /home/me/house#mac --target-host me@mac --sudo --build-host work"
        " --use-substitutes"
    )
    assert argv.rollback(PERSON) == shlex.split("nixos-rebuild switch --rollback --target-host me@mac --sudo")


@pytest.mark.parametrize(
    ("ssh", "place", "port"),
    [
        ("mac", "mac", ""),
        ("root@mac", "root@mac", ""),
        ("ssh://mac", "mac", ""),
        ("ssh://me@mac:2222", "me@mac", "2222"),
        ("ssh://me@mac:2222/", "me@mac", "2222"),
        ("ssh://me@[fd00::1]:22", "me@[fd00::1]", "22"),
        ("fd00::1", "fd00::1", ""),
    ],
)
def test_a_port_becomes_an_option_of_ssh(ssh: str, place: str, port: str) -> None:
    target = Target.of(ssh, sudo=False)
    assert (target.place, target.port) == (place, port)
    options = target.environ({})["NIX_SSHOPTS"].split()
    assert options[:2] == (["-p", port] if port else ["-o", "BatchMode=yes"])
    assert "StrictHostKeyChecking=yes" in options


def test_a_persons_own_options_come_first_and_the_rest_of_the_environment_stays() -> None:
    environ = Target.of("ssh://mac:1", sudo=False).environ({"NIX_SSHOPTS": "-i  key", "PATH": "/bin"})
    assert environ["PATH"] == "/bin"
    assert environ["NIX_SSHOPTS"].startswith("-i key -p 1 -o BatchMode=yes ")


def test_what_evaluates_and_builds_needs_no_configuration_of_nix() -> None:
    for words in (argv.evaluate("house#x"), argv.names(HOUSE), argv.build(HOUSE, "mac"), argv.copy(SYSTEM, ROOT)):
        assert words[2:4] == ["--extra-experimental-features", "nix-command flakes"]
    assert argv.build(HOUSE, "mac")[-1] == "/home/me/house#nixosConfigurations.mac.config.system.build.toplevel"
    assert argv.copy(SYSTEM, PERSON)[-3:] == ["--to", "ssh-ng://me@mac", SYSTEM]


def test_a_switch_is_a_unit_of_its_host_and_a_rehearsal_is_not() -> None:
    switch = f"{SYSTEM}/bin/switch-to-configuration"
    assert argv.activate("dry-activate", SYSTEM) == [switch, "dry-activate"]
    words = argv.activate("switch", SYSTEM)
    assert (words[4], words[-2:]) == ("systemd-run", [switch, "switch"])
    assert {"--wait", "--collect", "--unit=nixos-rebuild-switch-to-configuration"} <= set(words)
    assert "--pipe" not in words, "it would end with the connection"
    assert argv.set_profile(SYSTEM) == shlex.split(f"nix-env -p /nix/var/nix/profiles/system --set {SYSTEM}")


def test_the_way_back_can_be_typed() -> None:
    ssh, place, line = shlex.split(argv.by_hand(SYSTEM, "me@mac", sudo=True))
    assert (ssh, place) == ("ssh", "me@mac")
    assert line == (
        f"sudo nix-env -p /nix/var/nix/profiles/system --set {SYSTEM}"
        f" && sudo {SYSTEM}/bin/switch-to-configuration switch"
    )
    assert "sudo" not in argv.by_hand(SYSTEM, "mac", sudo=False)
