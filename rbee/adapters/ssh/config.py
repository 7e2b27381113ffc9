"""The configuration ssh is started with: the person's own first, then ours for what they have not said.

In ssh_config(5) the first value wins. So whoever has a ControlMaster of their own keeps it, and whoever has none gets
one, which makes every command after the first a matter of milliseconds.
"""

import os
from collections.abc import Mapping
from pathlib import Path

PERSIST_S = 120  # of a connection that is kept; that its host has gone is noticed within six seconds
_SOCKET_MAX = 108 - 1 - 17  # sun_path of unix(7), without its end and what ssh appends while it makes the socket
_HASH = 40  # %C

TEXT = """\
# Made by rbee-keeper, which reads your own configuration first.
Include ~/.ssh/config
Include /etc/ssh/ssh_config
Host *
    ControlMaster auto
    ControlPath "{folder}/%C"
    ControlPersist {persist}
    ServerAliveInterval 2
    ServerAliveCountMax 2
"""
OWN = "/etc/ssh/ssh_config"


def ensure(environ: Mapping[str, str]) -> Path | None:
    """Write the file if it is not there, and return its path; None where no socket of ours could be made."""
    folder = _folder(environ)
    if len(str(folder)) + 1 + _HASH > _SOCKET_MAX:
        return None
    text = TEXT.format(folder=str(folder).replace("%", "%%"), persist=PERSIST_S)
    file = folder / "config"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # sshd wants nobody else to write to ~/.ssh
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            return None
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            new = folder / f".config.{os.getpid()}"
            new.write_text(text, encoding="utf-8")
            new.replace(file)
    except OSError:
        return None
    return file


def _folder(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "rbee/ssh"
    if os.geteuid() == 0:
        return Path("/run/rbee-keeper")
    return Path(environ.get("HOME", "/nonexistent")) / ".ssh/rbee"
