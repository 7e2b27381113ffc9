"""Private namespaces for the rig, and the two processes that guard them.

``enter()`` forks twice and returns in the innermost process only, so the program simply goes on, inside:

    waiter                the caller's own process: passes signals on, waits, removes the cgroup directories
    └── leader            PID 1 inside: reaps orphans; when the program ends, so does everything else
        └── program       PID 2: returns from enter()

No mount, link or process of the rig can be seen from outside, and none outlives the waiter: the leader dies
with it (PR_SET_PDEATHSIG), and a PID namespace dies with its leader. There is no route out either, so what
needs the network has to be fetched before.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from tests.rig import cgroups
from tests.rig.errors import RigError, call

PACKAGES = (
    "systemd systemd-container dbus dbus-user-session libpam-systemd libnss-systemd polkitd "
    "openssh-server openssh-client iproute2 util-linux"
)
PROGRAMS = ("systemd-nspawn", "sshd", "ssh-keygen", "ip", "nsenter", "setpriv", "mount")

ID_VARIABLE = "RBEE_RIG"  # tells a program inside that it is, and in which rig
PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def obstacles() -> list[str]:
    """Return what keeps this machine from running the rig; empty when it can."""
    found = []
    if os.geteuid() != 0:
        found.append("it has to run as root")
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    if missing := [program for program in PROGRAMS if shutil.which(program, path=path) is None]:
        found.append(f"{', '.join(missing)} not found: apt-get install --no-install-recommends {PACKAGES}")
    return found


def enter() -> str:
    """Go on inside fresh mount, network, PID, IPC and UTS namespaces; return the new rig's id.

    Raises:
        RigError: this machine cannot; nothing has changed then.
    """
    if found := obstacles():
        raise RigError("; ".join(found))
    cgroups.sweep()
    rig_id = cgroups.claim()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    _libc("unshare", CLONE_NEWPID)
    if leader := os.fork():
        _wait_as_waiter(leader, rig_id)
    _libc("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    _libc("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
    if program := os.fork():
        _wait_as_leader(program)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _furnish(rig_id)
    return rig_id


def _furnish(rig_id: str) -> None:
    """Give the namespaces what every program expects: /proc, loopback, a name, and no systemd of the outside."""
    call("mount", "--make-rprivate", "/")
    call("mount", "-t", "proc", "proc", "/proc")
    call("ip", "link", "set", "lo", "up")
    # nspawn keeps locks here, and the controller must not talk to the systemd of the machine it runs on.
    Path("/run/systemd").mkdir(parents=True, exist_ok=True)
    call("mount", "-t", "tmpfs", "-o", "mode=755", "rig", "/run/systemd")
    socket.sethostname("controller")
    os.environ[ID_VARIABLE] = rig_id


def _wait_as_waiter(leader: int, rig_id: str) -> NoReturn:
    code = os.EX_SOFTWARE
    try:
        code = _supervise(leader)
        cgroups.remove(rig_id)
    finally:  # whatever happened, never return into the caller's program: it goes on elsewhere
        os._exit(code)


def _wait_as_leader(program: int) -> NoReturn:
    code = os.EX_SOFTWARE
    try:
        code = _supervise(program)
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
    finally:
        os._exit(code)


def _supervise(child: int) -> int:
    """Reap everything until ``child`` ends, passing signals on to it; return its exit code, 128+n for signal n."""
    while True:
        arrived = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        if arrived.si_signo != signal.SIGCHLD:
            # A positive code is the kernel's: a key on the terminal, which has reached the child as well.
            if arrived.si_code <= 0:
                os.kill(child, arrived.si_signo)
            continue
        if (code := _reap(child)) is not None:
            return code


def _reap(child: int) -> int | None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _libc(function: str, *arguments: int) -> None:
    """Call the C library where Python 3.11 has no wrapper."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) == -1:
        error = ctypes.get_errno()
        raise RigError(f"{function}: {os.strerror(error)}; a container needs CAP_SYS_ADMIN for the rig")
