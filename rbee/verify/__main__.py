"""Look whether a host is fit to run rbee: python -m rbee.verify.

Usage:
  rbee.verify --host=<name> --ssh=<where> [options]

Options:
  --host=<name>           What to call the host in the report.
  --ssh=<where>           What ssh is given: a name of your ssh configuration, or user@host[:port].
  --ssh-config=<file>     Another ssh configuration than your own.
  --sudo                  Run what is run there through sudo; for who may not log in as root.
  --queen=<url>           Ask the queen from here, too, whether she has this pool.
  --token-file=<file>     The token to show her; else your own or the system's.
  --tls-ca=<file>         PEM of who signed her certificate; else the system's list.
  --expect-version=<v>    The version of rbee that should be there; else ours.
  --unhashed              Do not hash the models' files, which takes what their host's disk takes.
  --format=<fmt>          text, json or junit [default: text].

Exit codes: 0 all passed, 1 some failed, 64 usage, 69 the host is not reachable.
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docopt import DocoptExit, docopt

from rbee import __version__
from rbee.errors import EX_INTERRUPTED, InvalidRequest, RbeeError
from rbee.verify.report import FORMS
from rbee.verify.wanted import Wanted

# testinfra parses it as a URL; a word that begins with a dash would be an option of ssh's.
_WHERE = re.compile(r"[A-Za-z0-9_][\w.@:%+-]*|[\w.-]+@\[[0-9A-Fa-f:.]+\](:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what ``argv`` asks for and return the exit code."""
    try:
        args = docopt(__doc__, argv=None if argv is None else list(argv))
        return _verified(args)
    except DocoptExit as error:
        return _refused(str(error), os.EX_USAGE)
    except RbeeError as error:
        return _refused(error.message, error.exit_code)
    except KeyboardInterrupt:
        return EX_INTERRUPTED


def is_place(where: str) -> bool:
    """Say whether ssh can be given this, as a place and as nothing else."""
    return _WHERE.fullmatch(where) is not None


def _verified(args: dict[str, Any]) -> int:
    where, form = args["--ssh"].removeprefix("ssh://"), args["--format"]
    if not is_place(where):
        raise InvalidRequest(f"--ssh is {where!r}, expected a name of your ssh configuration, or user@host[:port]")
    if form not in FORMS:
        raise InvalidRequest(f"--format is {form!r}, expected {', '.join(FORMS)}")
    if args["--ssh-config"] and not Path(args["--ssh-config"]).is_file():
        raise InvalidRequest(f"--ssh-config is {args['--ssh-config']!r}, and there is no such file")
    from rbee.verify.suite import SSH, HostUnreachable, run  # noqa: PLC0415  (pytest is half a second)

    os.environ.pop("PYTEST_ADDOPTS", None)
    options = [f"--hosts=ssh://{where}", f"--ssh-extra-args={SSH}"]
    options += [f"--ssh-config={args['--ssh-config']}"] if args["--ssh-config"] else []
    options += ["--sudo"] if args["--sudo"] else []
    options += ["-k", "not checksums_are_right"] if args["--unhashed"] else []
    try:
        report = run(args["--host"], options, _wanted(args))
    except HostUnreachable as error:
        return _refused(f"{args['--host']} cannot be verified: {error}", os.EX_UNAVAILABLE)
    sys.stdout.write(FORMS[form](report))
    return 0 if report.ok else 1


def _wanted(args: dict[str, Any]) -> Wanted:
    return Wanted(
        queen=args["--queen"] or "",
        token_file=args["--token-file"] or "",
        tls_ca=args["--tls-ca"] or "",
        version=args["--expect-version"] or __version__,
    )


def _refused(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
