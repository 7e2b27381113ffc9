"""One host's systemd-nspawn process: started, awaited, and started again when the host asks for a reboot."""

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.rig import cgroups, network
from tests.rig.errors import RigError
from tests.rig.waiting import PATIENCE

REBOOT = 133  # nspawn with --keep-unit exits so instead of booting again by itself
BOOT_TIMEOUT_S = 60.0 * PATIENCE  # 0.5 s when idle; many hosts take longer
STOP_TIMEOUT_S = 30.0 * PATIENCE
CONSOLE_TAIL = 3000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Puts itself into the groups named before "--", then becomes the program named after it.
JOIN_GROUPS = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'

NSPAWN = (
    "systemd-nspawn",
    "--quiet",
    "--boot",
    "--register=no",
    "--keep-unit",
    "--settings=no",
    "--notify-ready=yes",
    f"--network-bridge={network.BRIDGE}",
    "--console=pipe",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
    "--kill-signal=SIGRTMIN+4",
    # Without these the host's systemd cannot load the BPF programs behind IPAddressDeny=.
    "--system-call-filter=bpf @memlock",  # mlock(2), as everywhere outside of containers
    "--capability=CAP_BPF,CAP_NET_ADMIN,CAP_SYS_ADMIN",
)


class Machine:
    """Runs one host from ``start`` until it is powered off; a thread watches over it."""

    def __init__(self, name: str, directory: Path, groups: Mapping[str, Path]) -> None:
        self.name = name
        self.console = directory / "console.log"
        self.boots = 0
        self.pid1: int | None = None
        self._root = directory / "root"
        self._notify = directory / "notify"
        self._groups = dict(groups)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._ended = False
        self._changed = threading.Condition()

    @property
    def running(self) -> bool:
        """Whether it is booting, up, or between two boots."""
        return self._thread is not None and not self._ended

    def start(self) -> None:
        """Begin to boot; ``await_boot`` says when it is up."""
        self._ended = False
        self._thread = threading.Thread(target=self._keep_up, name=f"rig-{self.name}", daemon=True)
        self._thread.start()

    def await_boot(self, number: int) -> None:
        """Wait until the host has come up for the ``number``-th time.

        Raises:
            RigError: it ended or took too long; the message holds the end of its console.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self.boots >= number or not self.running, BOOT_TIMEOUT_S)
        if self.boots < number:
            what = "ended while booting" if done else f"was not up after {BOOT_TIMEOUT_S:g} s"
            raise RigError(f"host {self.name} {what}; its console:\n{self.console_tail()}")

    def power_off(self) -> None:
        """Shut down in order (0.2 s)."""
        if self._nspawn is not None:
            self._nspawn.terminate()
        self._await_end()

    def kill(self) -> None:
        """Pull the plug."""
        if self.pid1 is not None:
            os.kill(self.pid1, signal.SIGKILL)
        elif self._nspawn is not None:
            self._nspawn.kill()
        self._await_end()

    def console_tail(self) -> str:
        """Return the end of what the host wrote to its console."""
        return self.console.read_text(errors="replace")[-CONSOLE_TAIL:] if self.console.exists() else ""

    def _await_end(self) -> None:
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)
        if self.running:
            assert self._nspawn is not None
            self._nspawn.kill()
            raise RigError(f"host {self.name} did not stop in {STOP_TIMEOUT_S:g} s; console:\n{self.console_tail()}")

    def _keep_up(self) -> None:
        try:
            while self._boot_once() == REBOOT:
                pass
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _boot_once(self) -> int:
        """Run the host from power-on to power-off; return nspawn's exit code."""
        network.forget_link(self.name)
        self._notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.console.open("ab") as console:
            notify.bind(str(self._notify))
            self._nspawn = subprocess.Popen(
                self._argv(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": PATH, "NOTIFY_SOCKET": str(self._notify)},
            )
            self._follow(notify, self._nspawn)
        code = self._nspawn.wait()
        self.pid1 = None
        return code

    def _argv(self) -> list[str]:
        groups = [str(group) for group in self._groups.values()]
        nspawn = [*NSPAWN, f"--directory={self._root}", f"--machine={self.name}"]
        return ["sh", "-c", JOIN_GROUPS, "sh", *groups, "--", *nspawn, *cgroups.nspawn_options(self._groups)]

    def _follow(self, notify: socket.socket, nspawn: subprocess.Popen[bytes]) -> None:
        """Read nspawn's messages until the host is up or gone."""
        end = os.pidfd_open(nspawn.pid)
        try:
            while notify.fileno() in select.select([notify.fileno(), end], [], [])[0]:
                if self._take(notify.recv(4096).decode()):
                    return
        finally:
            os.close(end)

    def _take(self, message: str) -> bool:
        for line in message.splitlines():
            key, _, value = line.partition("=")
            if key == "X_NSPAWN_LEADER_PID":
                self.pid1 = int(value)
            if line == "READY=1":
                with self._changed:
                    self.boots += 1
                    self._changed.notify_all()
                return True
        return False
