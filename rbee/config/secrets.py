"""Secrets are files, or credentials that systemd hands over; never a setting."""

import os
from collections.abc import Mapping
from pathlib import Path

from rbee.config.paths import beside_config
from rbee.config.settings import Settings
from rbee.errors import ConfigInvalid

HANDED_ON = Path("/run/rbee")  # where ExecReload= of the units puts UNIT.token


def read_token(path: str, *, environ: Mapping[str, str], credential: str = "token") -> tuple[str, ...]:
    """Return the accepted tokens: the first is presented, all are accepted (rotation). Empty when there is none.

    A systemd credential of that name wins over ``path``. systemd loads it at the start only; what ``systemctl reload``
    has handed on since wins over it. Where neither is given, the user's or the system's own token file is taken if
    there is one this process may read.

    Raises:
        ConfigInvalid: unreadable, readable by group or others, empty, or a token shorter than 16 characters.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    from_systemd = Path(directory) / credential if directory else None
    if from_systemd is not None and from_systemd.exists():
        handed_on = HANDED_ON / f"{from_systemd.parent.stem}.{credential}"
        if _newer(handed_on, from_systemd):
            return _tokens(handed_on)
        return _tokens(from_systemd) if from_systemd.stat().st_size else ()
    file = Path(path) if path else _first_readable(beside_config("token", environ))
    if file is None:
        return ()
    _require_private(file, "token file", "rbee-keeper token new")
    return _tokens(file)


def read_database_password(settings: Settings, *, environ: Mapping[str, str]) -> str:
    """Return the password for the queen's database; empty where none is configured.

    A systemd credential named ``database-password`` wins over ``[queen] database_password_file``.

    Raises:
        ConfigInvalid: unreadable, readable by group or others, or empty.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory) / "database-password" if directory else None
    if credential is not None and credential.exists():
        return _only_line(credential)
    given = settings.queen.database_password_file
    if not given:
        return ""
    _require_private(Path(given), "password file", "write the password into it")
    return _only_line(Path(given))


def _only_line(file: Path) -> str:
    try:
        line = file.read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"password file {file}: {error}") from None
    if not line or "\n" in line:
        raise ConfigInvalid(f"password file {file} holds {'several lines' if line else 'nothing'}, expected one line")
    return line


def _require_private(file: Path, what: str, hint: str) -> None:
    try:
        mode = file.stat().st_mode & 0o777
    except OSError as error:
        raise ConfigInvalid(f"{what} {file}: {error.strerror}", hint=hint) from None
    if mode & 0o077:
        raise ConfigInvalid(f"{what} {file} has mode {mode:04o}, expected 0600", hint=f"chmod 600 {file}")


def _newer(file: Path, than: Path) -> bool:
    try:
        return file.stat().st_mtime_ns > than.stat().st_mtime_ns
    except OSError:
        return False


def _first_readable(files: list[Path]) -> Path | None:
    return next((file for file in files if os.access(file, os.R_OK)), None)


def _tokens(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"token file {file}: {error}") from None
    if not lines or any(len(line) < 16 for line in lines):
        raise ConfigInvalid(f"token file {file} holds no token, or one shorter than 16 characters")
    return tuple(lines)
