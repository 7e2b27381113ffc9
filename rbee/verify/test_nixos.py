"""The generation, on NixOS."""

from typing import Any

from rbee.verify.facts import Facts
from rbee.verify.unmet import does_not_apply, require


def test_generation_is_booted(facts: Facts) -> None:
    """Kernel and initrd are those of the current generation: no reboot is pending"""
    nixos = _nixos(facts)
    wrong = {part: path for part, path in nixos["booted"].items() if nixos["current"][part] != path}
    expected = {part: nixos["current"][part] for part in wrong} or "booted"
    require(wrong or "booted", expected, mend="systemctl reboot", nixos="boot.loader.systemd-boot.enable = true;")


def test_generation_is_switched_to(facts: Facts) -> None:
    """The running system is the newest generation of its profile"""
    nixos = _nixos(facts)
    mend = "/nix/var/nix/profiles/system/bin/switch-to-configuration switch"
    require(nixos["running"], nixos["profile"], mend=mend, nixos="system.autoUpgrade.enable = true;")


def _nixos(facts: Facts) -> dict[str, Any]:
    if facts["nixos"] is None:
        does_not_apply("this host is not NixOS")
    found: dict[str, Any] = facts["nixos"]
    return found
