"""A house with three hosts: the person sits at blep, and reaches workstation and mac by ssh as root."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

from tests.rig.host import Host
from tests.rig.inside import InsideProcess
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab

NAMES = ("blep", "workstation", "mac")
CONFIG = "/etc/rbee/rbee.toml"
_KEPT = "[s]sh:.*mux"


@dataclass
class House:
    """``hosts`` by name; the first is where the keeper is."""

    hosts: Mapping[str, Host]

    @property
    def blep(self) -> Host:
        return next(iter(self.hosts.values()))

    def lab(self, name: str) -> Lab:
        return Lab(self.hosts[name])

    def introduce(self) -> None:
        """Let blep's root log in on every host, itself included, and know their keys: what ssh-copy-id would do."""
        self.blep.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519"])
        key = self.blep.read("/root/.ssh/id_ed25519.pub")
        known = []
        for host in self.hosts.values():
            host.write("/root/.ssh/authorized_keys", host.read("/root/.ssh/authorized_keys") + key, mode=0o600)
            known.append(f"{host.name},{host.ip} {host.read('/etc/ssh/ssh_host_ed25519_key.pub')}")
        self.blep.write("/root/.ssh/known_hosts", "".join(known), mode=0o600)

    def configure(self, text: str = "") -> None:
        """Give blep's rbee.toml the hosts, and ``text`` before them."""
        tables = "".join(f'[hosts.{name}]\nssh = "{name}"\n' for name in self.hosts)
        self.blep.write(CONFIG, text + tables)

    def rbee(self, *argv: str, check: bool = True, timeout: float = 90) -> CompletedProcess[str]:
        return self.blep.run(["rbee", *argv], check=check, timeout=timeout)

    def rbee_json(self, *argv: str, check: bool = True) -> Any:
        return json.loads(self.rbee(*argv, "--format", "json", check=check).stdout)

    def begin(self, *argv: str) -> InsideProcess:
        return self.blep.popen(["rbee", *argv])

    def end_connections(self) -> None:
        """End the connections that the keeper's ssh has kept; the next command makes one of its own."""
        self.blep.run(["pkill", "-f", _KEPT], check=False)
        wait_for(lambda: not self.blep.run(["pgrep", "-f", _KEPT], check=False).stdout, "kept connections to end")

    def on(self, *names: str) -> list[str]:
        """Return the ``--host`` options for these hosts."""
        return [word for name in names or NAMES for word in ("--host", name)]
