"""Boot systemd hosts and run a command beside them, or a shell.

Usage: python -m tests.rig [--hosts NAME,NAME…] [--no-rbee] [-- COMMAND…]

  --hosts NAMES  which hosts [default: blep,workstation,mac]
  --no-rbee      boot them without rbee installed
  COMMAND        what to run; a shell when left out

Ends with the command's exit code. Needs root.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.rig import namespace, stage
from tests.rig.controller import Controller
from tests.rig.errors import RigError

SHELL = ("bash", "--norc")
SHELL_HELP = """\
rig: {names} up in {seconds:.1f} s. You are on the controller; there is no way out to the network.
rig: ssh {first} · ssh {first} systemctl status · leave with exit, and all is gone.
"""


def main(argv: Sequence[str]) -> int:
    """Run the rig as the command line says."""
    options, command = _parse(argv)
    try:
        staged = None if options.no_rbee else stage.build()
        controller = Controller(namespace.enter(), staged)
        return _run(controller, options.hosts.split(","), command, rbee=staged is not None)
    except RigError as error:
        print(f"rig: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    cut = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="python -m tests.rig", usage=__doc__, formatter_class=argparse.RawTextHelpFormatter, add_help=True
    )
    parser.add_argument("--hosts", default="blep,workstation,mac", help=argparse.SUPPRESS)
    parser.add_argument("--no-rbee", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv[:cut]), list(argv[cut + 1 :])


def _run(controller: Controller, names: list[str], command: list[str], *, rbee: bool) -> int:
    began = time.monotonic()
    try:
        controller.create(names, rbee=rbee)
        seconds = time.monotonic() - began
        if not command:
            print(SHELL_HELP.format(names=", ".join(names), first=names[0], seconds=seconds), end="", file=sys.stderr)
        return _call(command or list(SHELL))
    finally:
        controller.close()


def _call(command: list[str]) -> int:
    process = subprocess.Popen(command, env={**os.environ, "PS1": r"controller:\w\$ "})
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The key reached the command as well, and the command decides what it means.
            continue
        return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
