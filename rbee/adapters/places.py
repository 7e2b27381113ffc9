"""Where this process makes workers: which systemd manager, which program, where the secrets lie."""

import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from rbee.adapters.gpus import amd
from rbee.adapters.host import WORKERS
from rbee.adapters.llama_builds import LIB_VARIABLE
from rbee.adapters.systemd import kept
from rbee.config import Settings
from rbee.errors import ConfigInvalid
from rbee.pool_core.unit import Mode, Place

PROGRAM = "llm-worker-rbee"
SYSTEM_SECRETS = "/run/rbee/workers"
BROKER_SOCKET = "/run/rbee/broker.sock"
POOL_USER = "rbee"
LASTING = "/usr/bin:/bin:/run/current-system/sw/bin"  # NixOS has the last, and a path in its store may be collected


def mode(settings: Settings) -> Mode:
    """Return which manager has the workers: for root and the pool's own user the system's, else one's own."""
    if settings.pool.mode != "auto":
        return Mode(settings.pool.mode)
    return Mode.SYSTEM if os.geteuid() == 0 or _user() == POOL_USER else Mode.USER


def place(settings: Settings, mode: Mode, environ: Mapping[str, str]) -> Place:
    """Return how units are made.

    Raises:
        ConfigInvalid: there is no worker program, or it is not executable.
    """
    return Place(
        mode=mode,
        program=worker_program(settings.worker.exec),
        secrets=SYSTEM_SECRETS if mode is Mode.SYSTEM else f"{_runtime_dir(environ)}/rbee/workers",
        watchdog_s=settings.worker.watchdog_s,
        load_timeout_s=settings.worker.load_timeout_s,
        stop_grace_s=settings.worker.stop_grace_s,
        render_nodes=amd.render_nodes,
        llama_lib=settings.worker.llama_lib or environ.get(LIB_VARIABLE, ""),
        cache=str(kept.folder(mode, environ)),
        rm=shutil.which("rm", path=f"{LASTING}:{environ.get('PATH', '')}") or "/bin/rm",
    )


def workers_group(mode: Mode) -> Path:
    """Return the cgroup of all workers, below the topmost one."""
    user = os.geteuid()
    above = Path() if mode is Mode.SYSTEM else Path(f"user.slice/user-{user}.slice/user@{user}.service")
    return above / WORKERS


def worker_program(configured: str) -> str:
    """Return the absolute path of llm-worker-rbee: as configured, else beside this program, else on PATH.

    Raises:
        ConfigInvalid: it is not there, or not executable.
    """
    # Not resolved: on NixOS argv[0] is a wrapper's neighbour, and the link beside it is the one that works.
    beside = Path(sys.argv[0]).absolute().parent / PROGRAM
    found = configured or (str(beside) if beside.exists() else shutil.which(PROGRAM) or "")
    if not found:
        raise ConfigInvalid(f"{PROGRAM} is neither beside {sys.argv[0]} nor on PATH", hint="set [worker] exec")
    if not found.startswith("/") or not os.access(found, os.X_OK) or not Path(found).is_file():
        raise ConfigInvalid(f"worker.exec is {found!r}, expected the absolute path of an executable file")
    return found


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _runtime_dir(environ: Mapping[str, str]) -> str:
    return environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
