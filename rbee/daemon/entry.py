"""From a daemon's argv to its exit code."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import docopt

from rbee import __version__, log
from rbee.daemon.checking import checked
from rbee.errors import RbeeError

Args: TypeAlias = dict[str, Any]


def main(program: str, usage: str, run: Callable[[Args], None], check: Callable[[Args], str]) -> int:
    """Run ``run``, or for ``--check-config`` ``check``, with what the command line says; return the exit code.

    A failure is a sentence on standard error, and in the journal under systemd; a bug keeps its traceback.
    """
    words = sys.argv[1:]
    if "--help" in words or "-h" in words:
        sys.stdout.write(usage.strip() + "\n")
        return 0
    if "--version" in words:
        sys.stdout.write(f"{program} {__version__}\n")
        return 0
    try:
        args = dict(docopt.docopt(usage, words, default_help=False))
    except docopt.DocoptExit:
        sys.stderr.write(f"{program}: cannot make sense of: {' '.join(words)}\n{usage.strip()}\n")
        return os.EX_USAGE
    log.setup(program)
    try:
        if args["--check-config"]:
            return checked(program, args, lambda: check(args))
        run(args)
    except RbeeError as error:
        log.last("daemon.failed", code=error.code, error=error.message, hint=error.hint or None)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 0
