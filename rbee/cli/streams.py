"""The process's own standard streams: closed ones, full ones, and terminals that obey whatever is written to them."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

_STDOUT = 1
_KEPT = "\n\t"
_VISIBLE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in _KEPT}  # U+2400: pictures of controls
_VISIBLE |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}


class OutputLost(Exception):
    """Standard output cannot be written: the disk behind it is full, or broken. The message says which."""


class Results:
    """Standard output. Raises OutputLost where it cannot be written, BrokenPipeError when its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.strerror) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.strerror) from None

    def isatty(self) -> bool:
        return self._stream.isatty()


def open_closed(names: Sequence[str] = ("stdin", "stdout", "stderr")) -> None:
    """Give streams that were closed for us (``>&-``) a place that takes everything and holds nothing."""
    for name in names:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115, PTH123  (pathlib costs --help more)


def silence_stdout() -> None:
    """Nobody can be written to any more; let the interpreter's last flush not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def ended_by_reader() -> Iterator[None]:
    """End what a task does inside when whoever reads our standard output, a pipe, has gone.

    Otherwise only the next write finds that out, and a log that is followed may say nothing more for hours.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    import asyncio  # noqa: PLC0415  (not every command has a loop)

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  (we are one)
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        loop.remove_reader(_STDOUT)  # it would say so again and again
        task.cancel()

    if stat.S_ISFIFO(os.fstat(_STDOUT).st_mode):
        loop.add_reader(_STDOUT, leave)  # the end that is written to is never ready to be read, but has failed
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise BrokenPipeError from None
    finally:
        loop.remove_reader(_STDOUT)


def harmless(text: str) -> str:
    """Return ``text`` with control characters made visible: what a model says must not drive the terminal."""
    return text.translate(_VISIBLE)
