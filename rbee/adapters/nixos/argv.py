"""How nix and nixos-rebuild are asked, as lists of words. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from rbee.adapters.nixos.flake import Flake
from rbee.adapters.ssh.command import UNATTENDED

Action = Literal["switch", "dry-activate"]

PROFILE = "/nix/var/nix/profiles/system"
SWITCH_UNIT = "nixos-rebuild-switch-to-configuration"
"""In which a switch runs on its host, so that it outlives the connection; newer nixos-rebuild adds to the name."""

FEATURES = ("--extra-experimental-features", "nix-command flakes")
_LOGGED = """\
begun=$(date +%s)
"$@"
status=$?
journalctl --sync
journalctl --quiet --output=cat --since=@"$begun" _SYSTEMD_UNIT="$0"
exit "$status"
"""
"""Run a command that waits for unit $0, then print what that has logged."""

_SSH = (*UNATTENDED, "-o", "ServerAliveInterval=15")
_URL = re.compile(r"ssh://(?P<place>[^/]+?)(:(?P<port>\d+))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host as nix and nixos-rebuild are told it: they take no ssh:// URL, so its port is an option of ssh's."""

    place: str
    port: str = ""
    sudo: bool = False

    @classmethod
    def of(cls, ssh: str, *, sudo: bool) -> Self:
        found = _URL.fullmatch(ssh)
        if found is None:
            return cls(place=ssh, sudo=sudo)
        return cls(place=found["place"], port=found["port"] or "", sudo=sudo)

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return ``environ`` with what their ssh needs to be as ours: nobody is there to be asked.

        What is given first wins in ssh, so a person's own options stay.
        """
        own = environ.get("NIX_SSHOPTS", "").split()
        port = ["-p", self.port] if self.port else []
        return {**environ, "NIX_SSHOPTS": " ".join([*own, *port, *_SSH])}


def evaluate(installable: str) -> list[str]:
    return ["nix", "eval", *FEATURES, "--json", installable]


def names(flake: Flake) -> list[str]:
    """Return what asks for the names of the configurations there are."""
    from_flake = f"{flake.url}#nixosConfigurations"
    return ["nix", "eval", *FEATURES, "--json", from_flake, "--apply", "builtins.attrNames"]


def rebuild(action: Action, flake: Flake, host: str, target: Target, *, build_host: str = "") -> list[str]:
    built = ["--build-host", build_host] if build_host else []
    return ["nixos-rebuild", action, "--flake", flake.of(host), *_to(target), *built, "--use-substitutes"]


def rollback(target: Target) -> list[str]:
    """Return what takes a host to the generation before the newest."""
    return ["nixos-rebuild", "switch", "--rollback", *_to(target)]


def _to(target: Target) -> list[str]:
    return ["--target-host", target.place, *(["--sudo"] if target.sudo else [])]


# The same without nixos-rebuild


def build(flake: Flake, host: str) -> list[str]:
    return ["nix", "build", *FEATURES, "--no-link", flake.inside(host, "system", "build", "toplevel")]


def copy(path: str, target: Target) -> list[str]:
    """Return what copies ``path``, and what it needs, to a host. What was built here nobody has signed."""
    options = ("--no-check-sigs", "--substitute-on-destination")
    return ["nix", "copy", *FEATURES, *options, "--to", f"ssh-ng://{target.place}", path]


def set_profile(path: str) -> list[str]:
    """Return what makes ``path`` the newest generation, on its host."""
    return ["nix-env", "-p", PROFILE, "--set", path]


def activate(action: Action, path: str) -> list[str]:
    """Return what switches to ``path``, on its host; it goes on there when the connection is cut.

    Hence it writes to the journal, and not to us: where nobody reads any more switch-to-configuration ends midway
    (NixOS/nixpkgs#462179).
    """
    switch = f"{path}/bin/switch-to-configuration"
    if action == "dry-activate":
        return [switch, action]
    run = ["systemd-run", "-E", "LOCALE_ARCHIVE", "--collect", "--no-ask-password", "--quiet", "--service-type=exec"]
    return ["sh", "-c", _LOGGED, f"{SWITCH_UNIT}.service", *run, f"--unit={SWITCH_UNIT}", "--wait", switch, action]


def by_hand(path: str, ssh: str, *, sudo: bool) -> str:
    """Return what a person types to take a host to ``path``."""
    root = ["sudo"] if sudo else []
    steps: Sequence[Sequence[str]] = (set_profile(path), [f"{path}/bin/switch-to-configuration", "switch"])
    return shlex.join(["ssh", ssh, " && ".join(shlex.join([*root, *step]) for step in steps)])
