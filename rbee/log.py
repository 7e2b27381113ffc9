"""Events to the journal: past tense, ``noun.verb``, then the facts with units in the keys.

Under systemd the native protocol is spoken (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), so each fact is a
field and ``journalctl JOB=job-123`` works; elsewhere a line goes to standard error with the priority of
sd-daemon(3) in front.
"""

import os
import socket
import struct
import sys
from typing import Any

ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7
_JOURNAL = "/run/systemd/journal/socket"
_identifier = "rbee"
_threshold = INFO
_common: dict[str, str] = {}
_socket: socket.socket | None = None


def setup(identifier: str, *, debug: bool = False, **common: str) -> None:
    """Name the speaker; ``common`` facts go with every event (a worker's id and model)."""
    global _identifier, _threshold, _common, _socket  # noqa: PLW0603  (one process, one log)
    _identifier, _threshold, _common = identifier, DEBUG if debug else INFO, dict(common)
    _socket = _journal_socket()


def event(what: str, *, level: int = INFO, **facts: Any) -> None:
    """Log that ``what`` happened. Facts that are None are left out; text is escaped onto one line."""
    if level > _threshold:
        return
    known = {key: _word(value) for key, value in {**_common, **facts}.items() if value is not None}
    line = " ".join([what, *(f"{key}={_quoted(value)}" for key, value in known.items())])
    if _socket is None or not _send(_socket, line, level, known):
        sys.stderr.write(f"<{level}>{line}\n")
        sys.stderr.flush()


def warning(what: str, **facts: Any) -> None:
    event(what, level=WARNING, **facts)


def error(what: str, **facts: Any) -> None:
    event(what, level=ERROR, **facts)


def debug(what: str, **facts: Any) -> None:
    event(what, level=DEBUG, **facts)


def _journal_socket() -> socket.socket | None:
    """Return a socket to journald when standard error already goes there (JOURNAL_STREAM, systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stderr = os.fstat(2)
    except OSError:
        return None
    if (device, inode) != (str(stderr.st_dev), str(stderr.st_ino)):
        return None
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.connect(_JOURNAL)
    except OSError:
        made.close()
        return None
    return made


def _send(to: socket.socket, line: str, level: int, facts: dict[str, str]) -> bool:
    fields = {"MESSAGE": line, "PRIORITY": str(level), "SYSLOG_IDENTIFIER": _identifier}
    fields |= {key.upper(): value for key, value in facts.items()}
    try:
        to.send(b"".join(_field(key, value) for key, value in fields.items()))
    except OSError:
        return False
    return True


def _field(key: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" not in data:
        return key.encode() + b"=" + data + b"\n"
    return key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _quoted(value: str) -> str:
    shown = value if len(value) <= 500 else f"{value[:497]}…"
    plain = shown and not any(letter.isspace() or not letter.isprintable() or letter == '"' for letter in shown)
    return shown if plain else '"' + shown.encode("unicode_escape").decode().replace('"', '\\"') + '"'
