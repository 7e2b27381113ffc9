"""Hosts that a deploy takes for NixOS: a Nix store of their own, a profile, and a system that runs.

Nix, ssh, the profile and the unit of a switch are real; a system is a stand-in, see ``tests/assets/nixos``.
"""

from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.fleet.house import House
from tests.rig.host import Host
from tests.rig.inside import InsideProcess

ASSETS = Path(__file__).parents[1] / "assets/nixos"
HOUSE = "/root/house"
PROFILE = "/nix/var/nix/profiles/system"
REBUILD = "/usr/local/bin/nixos-rebuild"
ASKED = "/var/log/nixos-rebuild"
CONF = "sandbox = false\nbuild-users-group =\nsubstituters =\nflake-registry =\n"
FEATURES = ("--extra-experimental-features", "nix-command flakes")


@dataclass(frozen=True)
class Nixos:
    """``house``, with a flake on blep that has what ``names`` are."""

    house: House
    names: tuple[str, ...]

    def set_up(self) -> None:
        """Give each host a store, and the first generation of what the flake says it is."""
        for name in ("blep", *self.names):
            host = self.house.hosts[name]
            host.run(["sh", "-c", "mkdir -p /nix && mount -t tmpfs nix /nix"])  # this machine's own is not theirs
            host.run(["mkdir", "-p", "/nix/var/nix/profiles"])
            host.write("/etc/nix/nix.conf", CONF)
        self.give_kernel("6.12")
        for file in ("flake.nix", "switch-to-configuration"):
            self.house.blep.write(f"{HOUSE}/{file}", (ASSETS / file).read_text(), mode=0o755)
        self.give_rebuild()
        for name in self.names:
            self.define(name, "")
            self.install(name)
            self.host(name).run(["ln", "-sfn", self.runs(name), "/run/booted-system"])
            self.host(name).write("/etc/NIXOS", "")

    def give_rebuild(self) -> None:
        self.house.blep.write(REBUILD, (ASSETS / "nixos-rebuild").read_text(), mode=0o755)
        self.house.blep.run(["rm", "-f", ASKED])

    def give_kernel(self, version: str) -> None:
        """Let every system have that kernel from now on."""
        self.house.blep.write(f"{HOUSE}/kernel", version)

    def take_rebuild(self) -> None:
        self.house.blep.run(["rm", REBUILD])

    def define(self, name: str, effect: str) -> str:
        """Let a switch of ``name`` run ``effect``, a shell line; return the system that this is."""
        self.house.blep.write(f"{HOUSE}/{name}", f"{effect}\n")
        return self.house.blep.run(["nix", "eval", *FEATURES, "--raw", self.toplevel(name)]).stdout

    def install(self, name: str) -> None:
        """Have ``name`` run what is defined, as its installation once did."""
        system = self.house.blep.run(["nix", "eval", *FEATURES, "--raw", self.toplevel(name)]).stdout
        self.house.blep.run(["nix", "build", *FEATURES, "--no-link", self.toplevel(name)])
        self.house.blep.run(["nix-copy-closure", "--to", name, system])
        self.house.hosts[name].run(["nix-env", "-p", PROFILE, "--set", system])
        self.house.hosts[name].run([f"{system}/bin/switch-to-configuration", "switch"])

    @staticmethod
    def toplevel(name: str) -> str:
        return f"{HOUSE}#nixosConfigurations.{name}.config.system.build.toplevel"

    def runs(self, name: str) -> str:
        return self.house.hosts[name].run(["readlink", "-f", "/run/current-system"]).stdout.strip()

    def boots(self, name: str) -> str:
        return self.house.hosts[name].run(["readlink", "-f", PROFILE]).stdout.strip()

    def asked(self) -> list[str]:
        """Return what nixos-rebuild was asked since it was there."""
        return self.house.blep.run(["sh", "-c", f"cat {ASKED} 2>/dev/null"], check=False).stdout.splitlines()

    def deploy(self, *argv: str, check: bool = True) -> CompletedProcess[str]:
        return self.house.rbee("pool", "deploy", *argv, f"--flake={HOUSE}", check=check, timeout=200)

    def resume(self, *argv: str, check: bool = True) -> CompletedProcess[str]:
        return self.house.rbee("pool", "deploy", "--resume", *argv, check=check, timeout=200)

    def begin(self, *argv: str) -> InsideProcess:
        return self.house.begin("pool", "deploy", *argv, f"--flake={HOUSE}")

    def forget(self) -> None:
        """Let the next one begin anew."""
        self.house.blep.run(["rm", "-f", "/var/lib/rbee/rollout.json"])

    def host(self, name: str) -> Host:
        return self.house.hosts[name]
