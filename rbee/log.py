"""Events to the journal: past tense, ``noun.verb``, then the facts with units in the keys.

Under systemd the native protocol is spoken (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), so each fact is a
field and ``journalctl JOB=job-123`` works; elsewhere a line goes to standard error with the priority of
sd-daemon(3) in front. Logging raises nothing and waits for nobody: a journald that is away or stuck costs lines, and
stops no daemon.
"""

import errno
import os
import socket
import struct
import sys
from typing import Any

ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7
_JOURNAL = "/run/systemd/journal/socket"
_PATIENCE_S = 0.2
_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO)
_identifier = "rbee"
_threshold = INFO
_common: dict[str, str] = {}


class _Journal:
    """journald's own socket, found again when there is another journald."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._dropped = 0

    def send(self, data: bytes) -> bool:
        """Return False where it has to be said elsewhere."""
        for _ in range(2):
            try:
                if self._dropped:
                    facts = {"lines": str(self._dropped)}
                    self._connected().send(_entry(f"log.dropped lines={self._dropped}", WARNING, facts))
                    self._dropped = 0
                self._connected().send(data)
                return True
            except TimeoutError:
                self._dropped += 1
                return True  # stuck; standard error goes to the same journald, and would wait for ever
            except OSError as failure:
                if failure.errno == errno.EMSGSIZE:
                    return False
                self._forget()
        return False

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                made.settimeout(_PATIENCE_S)
                made.connect(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made
        return self._socket

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_journal: _Journal | None = None


def setup(identifier: str, *, debug: bool = False, **common: str) -> None:
    """Name the speaker; ``common`` facts go with every event (a worker's id and model)."""
    global _identifier, _threshold, _common, _journal  # noqa: PLW0603  (one process, one log)
    _identifier, _threshold, _common = identifier, DEBUG if debug else INFO, dict(common)
    _journal = _Journal(_JOURNAL) if _goes_to_journald() else None


def event(what: str, *, level: int = INFO, **facts: Any) -> None:
    """Log that ``what`` happened. Facts that are None are left out; text is escaped onto one line."""
    if level > _threshold:
        return
    known = _known(facts)
    line = _line(what, known)
    if _journal is None or not _journal.send(_entry(line, level, known)):
        _say(f"<{level}>{line}\n")


def warning(what: str, **facts: Any) -> None:
    event(what, level=WARNING, **facts)


def error(what: str, **facts: Any) -> None:
    event(what, level=ERROR, **facts)


def last(what: str, **facts: Any) -> None:
    """Log an error that ends the process, as a line on standard error.

    journald knows whose that is by the stream; of a datagram it asks the process, which may be gone by then, and
    ``journalctl -u`` would not show it.
    """
    _say(f"<{ERROR}>{_line(what, _known(facts))}\n")


def foreign(what: str, error: BaseException, **facts: Any) -> None:
    """Log a failure that is none of ours as an error: of what kind it is, and where it came from.

    Never its text, in which may be what somebody asked a model: grammars, templates and decoders quote it.
    """
    event(what, level=ERROR, **facts, error=type(error).__name__, trace=_trace(error))


def debug(what: str, **facts: Any) -> None:
    event(what, level=DEBUG, **facts)


def _known(facts: dict[str, Any]) -> dict[str, str]:
    return {key: _word(value) for key, value in {**_common, **facts}.items() if value is not None}


def _line(what: str, known: dict[str, str]) -> str:
    return " ".join([what, *(f"{key}={_quoted(value)}" for key, value in known.items())])


def _trace(error: BaseException) -> str | None:
    """Return where it broke, innermost first."""
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/rbee/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(reversed(frames[-8:])) or None


def _goes_to_journald() -> bool:
    """Tell whether standard error is journald's already (JOURNAL_STREAM, systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stderr = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(stderr.st_dev), str(stderr.st_ino))


def _say(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except OSError as failure:
        if failure.errno in _GONE:  # for good; what is in the buffer would fail once more at the very end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    except (AttributeError, ValueError):
        pass  # closed for us, or by us


def _entry(line: str, level: int, facts: dict[str, str]) -> bytes:
    fields = {"MESSAGE": line, "PRIORITY": str(level), "SYSLOG_IDENTIFIER": _identifier}
    fields |= {key.upper(): value for key, value in facts.items()}
    return b"".join(_field(key, value) for key, value in fields.items())


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
