"""A script as the queen holds it: at the other end of a socket, in a process that may fail."""

import contextlib
import json
import signal
import socket
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbee.adapters import process
from rbee.adapters.policy import frames
from rbee.errors import ConfigInvalid, PolicyFailed
from rbee.wire.words import bytes_text

LIMIT_S = 0.05  # of processor time
LONGEST_BYTES = 64 << 10
MEMORY_BYTES = 256 << 20
_START_S, _START_AGAIN_S = 10.0, 1.0
"""A machine that boots may take so long to start a program and to read the script; jobs that wait may not."""

_LATE_S = 0.5  # the script is long killed by then; only its whole process can be at fault


class PolicyScript:
    """A script that was read and found right as far as reading tells. Its process ends with it.

    Attributes:
        said: what it printed in its last call, a line each.
    """

    def __init__(self, path: Path, source: str) -> None:
        """Raises ConfigInvalid when it is no Starlark, or has no ``decide``."""
        self.path = path
        self.said: list[str] = []
        self._source = source
        self._started: _Started | None = None
        self._start(_START_S)

    @classmethod
    def load(cls, path: Path) -> "PolicyScript":
        """Return the script in ``path``, read and ready.

        Raises:
            ConfigInvalid: it cannot be read, is too long, is no Starlark, or has no ``decide``.
        """
        return cls(path, _source(path))

    def decide(self, context: Mapping[str, Any], limit_s: float = LIMIT_S) -> Any:
        """Return what the script wants done: an action as ``orchestrator_core.policy`` reads it, or None.

        Raises:
            PolicyFailed: it failed, took too long or too much, or returned what is no value.
        """
        self.said = []
        try:
            started = self._started or self._start(_START_AGAIN_S)
            answer = started.ask(json.dumps(context).encode(), limit_s)
        except (OSError, EOFError, ConfigInvalid) as error:
            self.close()
            why = "its process has ended" if isinstance(error, EOFError | ConnectionError) else str(error)
            raise PolicyFailed(f"policy {self.path}: {why}; the next decision starts it again") from None
        self.said = answer.get("said", [])
        if "ended" in answer:
            raise PolicyFailed(f"policy {self.path} {_end(answer['ended'], limit_s)}")
        if "fault" in answer:
            raise PolicyFailed(answer["fault"])
        return answer["answer"]

    def close(self) -> None:
        """End its process; a later call starts another."""
        self._end()
        self._started = None

    def _start(self, within_s: float) -> "_Started":
        started = _Started()
        self._end = weakref.finalize(self, started.close)
        try:
            started.read(self.path, self._source, within_s)
        except ConfigInvalid:
            self._end()
            raise
        self._started = started
        return started


class _Started:
    """The process, and our end of its socket."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = process.beside(f"{__package__}.process", stdin=theirs.fileno())

    def read(self, path: Path, source: str, within_s: float) -> None:
        """Raises ConfigInvalid: it is no policy."""
        message = json.dumps({"path": str(path), "source": source, "memory_bytes": MEMORY_BYTES}).encode()
        try:
            self._socket.settimeout(within_s)
            frames.send(self._socket, message)
            answer = json.loads(frames.receive(self._socket)[0])
        except (OSError, EOFError) as error:
            why = _end(-(self.close() or 0), frames.READ_S) if isinstance(error, EOFError) else str(error)
            raise ConfigInvalid(f"policy {path}: as it was read, it {why}", hint="docs/policy.md") from None
        if "wrong" in answer:
            raise ConfigInvalid(answer["wrong"], hint=answer["hint"])

    def ask(self, context: bytes, limit_s: float) -> dict[str, Any]:
        """Raises OSError or EOFError when it does not answer."""
        self._socket.settimeout(limit_s * frames.PATIENCE + _LATE_S)
        frames.send(self._socket, context, limit_s)
        answer: dict[str, Any] = json.loads(frames.receive(self._socket)[0])
        return answer

    def close(self) -> int | None:
        """Return how it ended."""
        self._socket.close()
        return process.ended(self._process)


def _end(number: int, limit_s: float) -> str:
    """Return what a signal that ended the script says of it."""
    if number == signal.SIGPROF:
        return f"took longer than {limit_s * 1000:g} ms, in one step"
    if number == signal.SIGALRM:
        return f"was not done within {limit_s * frames.PATIENCE * 1000:g} ms by the clock: the machine is busy"
    if number == signal.SIGSEGV:
        return "filled the stack: values too deep in each other"
    if number == signal.SIGABRT:
        return f"wanted more than {bytes_text(MEMORY_BYTES)} of memory"
    name = ""
    with contextlib.suppress(ValueError):
        name = f" by {signal.Signals(number).name}"
    return f"was ended{name}"


def _source(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        hint = f"chmod a+rX {path.parent} {path}" if isinstance(error, PermissionError) else "name a file that is there"
        raise ConfigInvalid(f"policy {path}: {error.strerror}", hint=hint) from None
    if len(data) > LONGEST_BYTES:
        raise ConfigInvalid(f"policy {path} is {len(data)} bytes long, expected at most {LONGEST_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"policy {path} is not UTF-8: byte {error.start}") from None
