"""A real sshd on loopback, with keys and a configuration of its own, and a program or two that only it has."""

import contextlib
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rbee.adapters.ssh import Remote
from tests.rig.waiting import wait_for
from tests.support.ports import kept_port

SERVER = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
PermitRootLogin yes
SetEnv {environment}
"""
CLIENT = """\
Host far
    HostName 127.0.0.1
    Port {port}
    IdentityFile {folder}/key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
    ControlMaster auto
    ControlPath {sockets}/%C
    ControlPersist 30
"""


@dataclass(frozen=True)
class Sshd:
    """Where it listens; ``remote`` is what rbee makes of it."""

    folder: Path
    port: int
    client_config: Path

    @property
    def remote(self) -> Remote:
        return Remote(name="mac", target="far", ssh_config=self.client_config)

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    def install(self, program: str, script: str) -> None:
        """Put a program where only those who come by ssh find it."""
        file = self.programs / program
        file.write_text(script)
        file.chmod(0o755)

    def install_hive(self) -> None:
        """The real rbee-hive, out of this checkout."""
        python, tree = shlex.quote(sys.executable), shlex.quote(str(Path(__file__).parents[2]))
        self.install(
            "rbee-hive",
            f"#!/bin/sh\nPYTHONPATH={tree} exec {python} -c 'from rbee.hive.main import main; main()' \"$@\"\n",
        )


@contextlib.contextmanager
def sshd(folder: Path, sockets: Path, environ: Mapping[str, str]) -> Iterator[Sshd]:
    """Run one below ``folder``; what it starts has ``environ``. ``sockets`` has to have a short name."""
    (folder / "bin").mkdir(parents=True)
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with kept_port() as port:
        yield from _serving(folder, sockets, environ, port)


def _serving(folder: Path, sockets: Path, environ: Mapping[str, str], port: int) -> Iterator[Sshd]:
    known = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}")
    variables = {**environ, "PATH": f"{folder}/bin:/usr/bin:/bin"}
    environment = " ".join(f'"{key}={value}"' for key, value in variables.items())
    (folder / "sshd_config").write_text(SERVER.format(port=port, folder=folder, environment=environment))
    client = folder / "ssh_config"
    client.write_text(CLIENT.format(port=port, folder=folder, sockets=sockets))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = folder / "log"
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", str(log), "-f", str(folder / "sshd_config")])
    try:
        wait_for(lambda: _answers(port) or server.poll() is not None, "sshd to listen", 10)
        assert server.poll() is None, log.read_text()
        yield Sshd(folder, port, client)
    finally:
        subprocess.run(["ssh", "-F", str(client), "-O", "exit", "far"], check=False, capture_output=True)
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
