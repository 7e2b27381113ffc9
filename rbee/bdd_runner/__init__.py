"""bdd-runner: run Gherkin features with pytest-bdd, and say of each scenario how it went."""

import os
import sys
from importlib.util import find_spec
from typing import Any, NoReturn

from rbee import __version__

USAGE = """
bdd-runner: run Gherkin features.

Usage:
  bdd-runner [<feature>...] [--tags=<expression>] [--format=<format>]

<feature> is a feature file, a directory of them, or a feature's name: workers for workers.feature. Otherwise all.

Options:
  --tags=<expression>  Only scenarios tagged so: @ssh, or "ssh and not slow".
  --format=<format>    text: a line as each scenario ends; json: one document; junit: JUnit XML [default: text].
  -h, --help           Show this.
  --version            Show the version.

Environment:
  RBEE_BDD_FEATURE_PATH  Where the features lie, beside the Python modules that run them; otherwise tests/features.

Exit codes: 0 all passed, 1 some failed, 64 usage, 66 no such feature or no scenario selected, 69 this machine cannot
run them, 70 a bug, 78 pytest-bdd is not installed, 130 interrupted.
"""


def main() -> NoReturn:
    """Run bdd-runner."""
    sys.exit(_answered(sys.argv[1:]))


def _answered(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        sys.stdout.write(USAGE.strip() + "\n")
        return 0
    if "--version" in words:
        sys.stdout.write(f"bdd-runner {__version__}\n")
        return 0
    import docopt  # noqa: PLC0415  (not for --help)

    try:
        args = dict(docopt.docopt(USAGE, words, default_help=False))
    except docopt.DocoptExit:
        sys.stderr.write(f"bdd-runner: cannot make sense of: {' '.join(words)}\n{USAGE.strip()}\n")
        return os.EX_USAGE
    return _performed(args)


def _performed(args: dict[str, Any]) -> int:
    from rbee.errors import ConfigInvalid, RbeeError  # noqa: PLC0415

    try:
        if find_spec("pytest_bdd") is None:
            raise ConfigInvalid("pytest-bdd is not installed", hint=f"{sys.executable} -m pip install pytest-bdd")
        from rbee.bdd_runner.run import run  # noqa: PLC0415  (imports pytest, which only tests have)

        where = os.environ.get("RBEE_BDD_FEATURE_PATH", "")
        return run(args["<feature>"], tags=args["--tags"] or "", form=args["--format"], where=where)
    except RbeeError as error:
        hint = f"hint: {error.hint}\n" if error.hint else ""
        sys.stderr.write(f"bdd-runner: {error.message}\n{hint}")
        return error.exit_code
