"""Cgroups of the hosts: one group per host in every hierarchy, below the group that the rig itself is in.

systemd-nspawn mounts cgroup v1 controllers read-only in a host without a user namespace: it boots, and every
limit silently does nothing. It leaves alone what is mounted already, so each controller's own subtree is bound
into the host (``nspawn_options``) and limits are enforced. The hierarchies ``systemd`` and ``unified`` nspawn
mounts writable by itself. On a machine with cgroup v2 alone nothing has to be bound.
"""

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from tests.rig.waiting import PATIENCE

MOUNT = Path("/sys/fs/cgroup")
RIG_ID = re.compile(r"rig-\d+-[0-9a-f]{6}")
MOUNTED_BY_NSPAWN = {"systemd", "unified"}
CPUSET = "cpuset"  # a new v1 group of it has no CPUs, and nothing can join until it is given some


def claim() -> str:
    """Make the groups of a new rig and return its id. They are locked as long as one of its processes lives."""
    rig_id = f"rig-{os.getpid()}-{secrets.token_hex(3)}"
    with _no_other_rig():
        for base in _bases().values():
            (base / rig_id).mkdir()
            fcntl.flock(os.open(base / rig_id, os.O_RDONLY), fcntl.LOCK_SH)
    return rig_id


def create(rig_id: str, host: str) -> dict[str, Path]:
    """Make the groups of a host; return them by hierarchy."""
    groups = {name: base / rig_id / host for name, base in _bases().items()}
    for group in groups.values():
        group.mkdir(parents=True, exist_ok=True)
    if _only_v2():
        for parent in (MOUNT, MOUNT / rig_id):
            (parent / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    return groups


def nspawn_options(groups: dict[str, Path]) -> list[str]:
    """Return the options that make the groups' controllers writable in the host."""
    if _only_v2():
        return []
    binds = [f"--bind={group}:{MOUNT}/{name}" for name, group in groups.items() if name not in MOUNTED_BY_NSPAWN]
    return [f"--tmpfs={MOUNT}:mode=755", *binds]


def remove(rig_id: str, host: str = "") -> None:
    """Remove the groups of one host, or of the whole rig; what still holds a process stays."""
    deadline = time.monotonic() + 2.0 * PATIENCE
    for base in _bases().values():
        # The kernel empties a group a moment after its last process was reaped.
        while not _remove_tree(base / rig_id / host) and time.monotonic() < deadline:
            time.sleep(0.01)


def sweep() -> None:
    """Remove what rigs left behind that were killed with SIGKILL: empty directories, nothing else."""
    with _no_other_rig():
        for top, directories, _ in os.walk(MOUNT):
            for rig_id in [name for name in directories if RIG_ID.fullmatch(name)]:
                directories.remove(rig_id)
                if not _is_claimed(Path(top, rig_id)):
                    _remove_tree(Path(top, rig_id))


@contextlib.contextmanager
def _no_other_rig() -> Iterator[None]:
    """Keep others from claiming and sweeping: until it is locked, a new group looks like one that was left behind."""
    directory = os.open(MOUNT, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _is_claimed(group: Path) -> bool:
    try:
        directory = os.open(group, os.O_RDONLY)
    except FileNotFoundError:  # its rig has ended meanwhile, and removed it
        return False
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(directory)
    return False


def _remove_tree(top: Path) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError:
            return False
    return True


def _bases() -> dict[str, Path]:
    """Return the group this process is in, by hierarchy."""
    if _only_v2():
        # Not below our own group, which holds processes and so may not hand controllers down (cgroups(7)).
        return {"unified": MOUNT}
    bases = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=") or "unified"
        if name != CPUSET and (MOUNT / name).is_dir():
            bases[name] = MOUNT / name / path.lstrip("/")
    return bases


def _only_v2() -> bool:
    return (MOUNT / "cgroup.controllers").exists()
