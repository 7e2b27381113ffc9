"""How a command gets into a host: nsenter, the right user, a clean environment, and signals that arrive."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rig.errors import RigError

NSENTER = ("nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True)
class Account:
    """A line of a host's /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str


def account(root: Path, name: str | None) -> Account:
    """Return a user of the host with this root; root itself for None.

    Raises:
        RigError: there is no such user.
    """
    for line in (root / "etc/passwd").read_text().splitlines():
        user, _, uid, gid, _, home, _ = line.split(":")
        if user == (name or "root"):
            return Account(user, int(uid), int(gid), home)
    raise RigError(f"no user {name!r} in {root}/etc/passwd")


def command(pid1: int, who: Account, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return the command line that runs ``argv`` in the host; it dies with the nsenter that the controller sees."""
    # XDG_RUNTIME_DIR is all that `systemctl --user` needs. No DBUS_SESSION_BUS_ADDRESS: an inherited one would win.
    variables = {
        **ENVIRONMENT,
        "HOME": who.home,
        "USER": who.name,
        "LOGNAME": who.name,
        **({"XDG_RUNTIME_DIR": f"/run/user/{who.uid}"} if who.uid else {}),
        **env,
    }
    become = ["--reuid", str(who.uid), "--regid", str(who.gid), "--init-groups"] if who.uid else []
    assignments = [f"{key}={value}" for key, value in variables.items()]
    enter = [*NSENTER, "--target", str(pid1), "--", "setpriv", *become, "--pdeathsig", "KILL", "--"]
    return [*enter, "env", "-i", *assignments, *argv]


class InsideProcess(subprocess.Popen[str]):
    """A running command in a host. ``pid`` is nsenter's; signals go to the command."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to the command; nsenter ends as the command does."""
        if self.poll() is not None:
            return
        if sig == signal.SIGKILL:
            super().send_signal(sig)
            return
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            os.kill(int(child), sig)
