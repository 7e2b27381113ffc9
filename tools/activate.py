"""What a running systemd is told after an installation, and before one is removed."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.layout import Layout
from tools.run import run, say

WORKERS = ("rbee-worker-*.socket", "rbee-worker-*.service")
SLICES = "rbee*.slice"  # those above our own, too, which systemd made by itself
LIMITATION = "no systemd of yours is running, so nothing was started: systemctl{} enable --now {}"


def start(layout: Layout) -> None:
    """Make users and directories, enable the sockets, and let daemons that run go on with the new files."""
    if layout.destdir != Path("/"):
        return
    sockets = _units(layout, "socket")
    if not _is_running(layout):
        say(LIMITATION.format(" --user" if layout.sysusers is None else "", " ".join(sockets)))
        return
    if layout.sysusers is not None and layout.tmpfiles is not None:
        run(["systemd-sysusers", layout.sysusers])
        run(["systemd-tmpfiles", "--create", layout.tmpfiles])
    systemctl = _systemctl(layout)
    run([*systemctl, "daemon-reload"])
    if sockets:
        run([*systemctl, "enable", "--now", *sockets])
        run([*systemctl, "try-restart", *_units(layout, "service")])


def stop(layout: Layout) -> None:
    """Stop workers, daemons and sockets, in this order, so that nothing starts again meanwhile."""
    if not _is_running(layout):
        return
    systemctl = _systemctl(layout)
    sockets, services = _units(layout, "socket"), _units(layout, "service")
    if sockets:
        run([*systemctl, "disable", "--now", *sockets, *services], quiet=True)
    run([*systemctl, "stop", *services, *WORKERS], quiet=True)
    run([*systemctl, "stop", SLICES], quiet=True)


def reload(layout: Layout) -> None:
    """Let systemd forget the units that are gone."""
    if _is_running(layout):
        run([*_systemctl(layout), "daemon-reload"])


def _units(layout: Layout, kind: str) -> list[str]:
    """Return the units of one kind that this layout installs; templates have no life of their own."""
    return sorted(unit.name for unit in layout.units_from.glob(f"*.{kind}") if "@" not in unit.name)


def _is_running(layout: Layout) -> bool:
    if layout.destdir != Path("/") or not Path("/run/systemd/system").is_dir():
        return False
    return layout.sysusers is not None or _answers(_systemctl(layout))


def _systemctl(layout: Layout) -> list[str]:
    return ["systemctl"] if layout.sysusers is not None else ["systemctl", "--user"]


def _answers(systemctl: Sequence[str]) -> bool:
    os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return subprocess.run([*systemctl, "show-environment"], capture_output=True, check=False).returncode == 0
