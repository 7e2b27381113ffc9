"""A systemd host as a test sees it: run commands, read units, cut its link, pull its plug."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.rig import network
from tests.rig.errors import CommandError, RigError
from tests.rig.inside import InsideProcess, account, command
from tests.rig.machine import Machine
from tests.rig.waiting import PATIENCE

SSH_CONFIG = Path("/etc/ssh/ssh_config")  # the rig's own, mounted there: plain ``ssh blep`` works too


class Host:
    """One real systemd host. Made by ``Controller.create``; tests get it from the ``host`` and ``hosts`` fixtures."""

    def __init__(self, name: str, ip: str, root: Path, machine: Machine) -> None:
        self.name = name
        self.ip = ip
        self.root = root
        self._machine = machine
        self._cut = False
        self._isolated = False

    # Power

    @property
    def up(self) -> bool:
        """Whether it has power; it may still be booting."""
        return self._machine.running

    @property
    def boots(self) -> int:
        """How often it has come up."""
        return self._machine.boots

    @property
    def pid1(self) -> int:
        """Its systemd, as the controller numbers processes.

        Raises:
            RigError: it is off.
        """
        pid1 = self._machine.pid1
        if pid1 is None:
            raise RigError(f"host {self.name} is off; its console:\n{self._machine.console_tail()}")
        return pid1

    @property
    def console(self) -> Path:
        """All that its boots have written to the console."""
        return self._machine.console

    def start(self) -> None:
        """Begin to boot; ``await_boot`` says when it is up."""
        self._machine.start()

    def await_boot(self, number: int = 1) -> None:
        """Wait until it has come up for the ``number``-th time: default target reached, all units started."""
        self._machine.await_boot(number)
        self._restore_network_state()

    def boot(self) -> None:
        """Switch on and wait; disk and address are those it had."""
        number = self.boots + 1
        self.start()
        self.await_boot(number)

    def reboot(self) -> None:
        """``systemctl reboot``, and wait until it is up again."""
        number = self.boots + 1
        self.run(["systemctl", "reboot"], check=False)
        self.await_boot(number)

    def power_off(self) -> None:
        """Shut down in order."""
        self._machine.power_off()

    def power_loss(self) -> None:
        """Kill everything at once; what was written to its disk stays, ``/run`` and transient units go."""
        self._machine.kill()

    # Commands

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        input: str | None = None,  # noqa: A002 - the name subprocess.run gives it
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host, as root or as ``user`` with that user's runtime directory; no ssh, no shell.

        Raises:
            CommandError: it failed and ``check`` is set; the message shows all it said.
            subprocess.TimeoutExpired: it took more than ``PATIENCE`` times ``timeout`` seconds, and was killed.
        """
        with self.popen(argv, user=user, env=env, stdin=subprocess.PIPE) as process:
            try:
                stdout, stderr = process.communicate(input, timeout * PATIENCE)
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)
        if check and done.returncode:
            raise CommandError(f"host {self.name}", done)
        return done

    def popen(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.PIPE,
    ) -> InsideProcess:
        """Start a command in the host; signals sent to what is returned reach the command itself."""
        who = account(self.root, user)
        return InsideProcess(
            command(self.pid1, who, argv, env or {}),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="replace",
            cwd="/",
        )

    def ssh(
        self, argv: Sequence[str], *, user: str = "root", check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh from the controller."""
        done = subprocess.run(
            ["ssh", "-F", str(SSH_CONFIG), "-l", user, self.name, "--", shlex.join(argv)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout * PATIENCE,
        )
        if check and done.returncode:
            raise CommandError(f"ssh {user}@{self.name}", done)
        return done

    # Files, users, units

    def write(self, path: str, text: str, *, mode: int = 0o644, owner: str | None = None) -> None:
        """Write a file in the host, parents included."""
        # Through the host's own mounts: /run and /tmp are not part of the tree that the controller sees.
        script = 'umask 077; mkdir -p "$(dirname "$1")"; cat >"$1" && chmod "$2" "$1" && chown "${3:-root}:" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}", owner or "root"], input=text)

    def read(self, path: str) -> str:
        """Return the text of a file in the host."""
        return self.run(["cat", path]).stdout

    def add_user(self, name: str, *, linger: bool = True) -> None:
        """Make an ordinary user with the controller's ssh key; with ``linger`` their user manager is up afterwards."""
        self.run(["useradd", "--create-home", "--shell", "/bin/bash", name])
        key = self.read("/root/.ssh/authorized_keys")
        self.write(f"/home/{name}/.ssh/authorized_keys", key, mode=0o600, owner=name)
        self.run(["chown", f"{name}:", f"/home/{name}/.ssh"])
        if linger:
            self.run(["loginctl", "enable-linger", name])
            self.run(["systemctl", "start", f"user@{account(self.root, name).uid}.service"])

    def unit_property(self, unit: str, prop: str, user: str | None = None) -> str:
        """Return one property of a unit of the system manager, or of a user's."""
        scope = ["--user"] if user else []
        return self.run(["systemctl", *scope, "show", "--value", "-p", prop, unit], user=user).stdout.strip()

    def journal(self, *arguments: str, user: str | None = None) -> str:
        """Return what journalctl prints with these arguments; nothing when nothing matches.

        What was logged before this call is in it: journald takes lines in when it comes to it, and is asked to.
        """
        self.run(["journalctl", "--sync"], check=False)  # without a journald there is nothing to take in
        done = self.run(["journalctl", "--no-pager", "--quiet", *arguments], user=user, check=False)
        if done.returncode and done.stderr:  # without a message it means that --grep found nothing
            raise CommandError(f"host {self.name}", done)
        return done.stdout

    # Network

    def cut_link(self) -> None:
        """Take its network cable out; it stays so over a reboot."""
        self._cut = True
        self._restore_network_state()

    def restore_link(self) -> None:
        """Put the cable back."""
        self._cut = False
        self._restore_network_state()

    def isolate(self) -> None:
        """Let it lose every other isolated host; the controller and the rest still reach it."""
        self._isolated = True
        self._restore_network_state()

    def join(self) -> None:
        """Undo ``isolate``."""
        self._isolated = False
        self._restore_network_state()

    def _restore_network_state(self) -> None:
        """Give the link, which each boot makes anew, the state it should have."""
        network.set_isolated(self.name, isolated=self._isolated)
        network.set_link(self.name, up=not self._cut)

    # Evidence

    def save_evidence(self, directory: Path) -> None:
        """Copy its console and its journal, all boots of it, to ``directory``; works while it is off, too."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "console.log").write_bytes(self.console.read_bytes() if self.console.exists() else b"")
        with (directory / "journal.txt").open("wb") as journal:
            subprocess.run(
                ["journalctl", "--no-pager", "--output=short-precise", f"--directory={self.root}/var/log/journal"],
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TZ": "UTC"},
                check=False,
            )
