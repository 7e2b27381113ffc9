"""Where rbee.toml, tokens and state lie, and what this host's pool is called."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from rbee.config.settings import Settings
from rbee.wire.fields import NAME


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return where this process keeps its state: systemd's STATE_DIRECTORY, /var/lib/rbee for root, else the user's."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/rbee")
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "/")) / ".local/share")
    return Path(base) / "rbee"


def pool_id(settings: Settings) -> str:
    """Return the configured pool id, else the host's short name made to fit."""
    if settings.pool.id:
        return settings.pool.id
    short = re.sub(r"[^a-z0-9._-]", "-", socket.gethostname().split(".")[0].lower())
    return short if NAME.fullmatch(short) else "localhost"


def beside_config(file_name: str, environ: Mapping[str, str]) -> list[Path]:
    """Return where a file of that name may lie: with the user's configuration, then with the system's."""
    found = [Path("/etc/rbee") / file_name]
    if os.geteuid() != 0 and environ.get("HOME"):
        base = environ.get("XDG_CONFIG_HOME") or str(Path(environ["HOME"]) / ".config")
        found.insert(0, Path(base) / "rbee" / file_name)
    return found


def own_file(environ: Mapping[str, str]) -> Path:
    """Return where this person's rbee.toml would be made: the system's for root, else in their own configuration."""
    return beside_config("rbee.toml", environ)[0]
