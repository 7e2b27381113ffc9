"""How the tools run programs, and how they fail."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
MINIMUM_PYTHON = (3, 11)


class ToolError(Exception):
    """Something the person at the keyboard has to know; the message says what to do."""


def run(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path = CHECKOUT, quiet: bool = False
) -> None:
    """Run a program; with ``quiet`` what it says is shown only when it fails.

    Raises:
        ToolError: it failed.
    """
    done = subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        cwd=cwd,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"{done.stdout or ''}{' '.join(map(str, argv))} ended with {done.returncode}")


def say(text: str) -> None:
    """Tell what is going on."""
    print(text, file=sys.stderr, flush=True)


def main(function: Callable[[Sequence[str]], None]) -> None:
    """Run a tool's main function as a program."""
    os.umask(0o022)  # what is installed is for everybody to read
    try:
        if sys.version_info < MINIMUM_PYTHON:
            raise ToolError(f"{sys.executable} is older than Python 3.11: set PYTHON=, as in make PYTHON=python3.12")
        function(sys.argv[1:])
    except ToolError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
