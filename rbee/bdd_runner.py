"""bdd-runner: run Gherkin features with pytest, and end as pytest ends."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from rbee import __version__
from rbee.errors import ConfigInvalid, NotFound, RbeeError

USAGE = """
bdd-runner: run Gherkin features.

Usage:
  bdd-runner [<directory>] [-- <argument>...]

<directory> holds *.feature files and the Python files with their steps; tests/bdd when it is not named.
Arguments after -- go to pytest. The exit code is pytest's; 66 where there are no features, 78 without pytest-bdd.

Options:
  -h, --help        Show this.
  --version         Show the version.
"""
DEFAULT = "tests/bdd"


def main() -> NoReturn:
    """Run bdd-runner."""
    words = sys.argv[1:]
    if "--help" in words or "-h" in words:
        sys.stdout.write(USAGE.strip() + "\n")
        sys.exit(0)
    if "--version" in words:
        sys.stdout.write(f"bdd-runner {__version__}\n")
        sys.exit(0)
    import docopt  # noqa: PLC0415  (not for --help)

    try:
        args = docopt.docopt(USAGE, words, default_help=False)
        sys.exit(run(Path(args["<directory>"] or DEFAULT), args["<argument>"]))
    except docopt.DocoptExit:
        sys.stderr.write(f"bdd-runner: cannot make sense of: {' '.join(words)}\n{USAGE.strip()}\n")
        sys.exit(os.EX_USAGE)
    except RbeeError as error:
        sys.stderr.write(f"bdd-runner: {error.message}\nhint: {error.hint}\n")
        sys.exit(error.exit_code)


def run(directory: Path, arguments: list[str]) -> int:
    """Return pytest's exit code over the features below ``directory``.

    Raises:
        NotFound: there are none.
        ConfigInvalid: pytest-bdd is not installed, so nothing could be run.
    """
    if not any(directory.rglob("*.feature")):
        raise NotFound(f"{directory} holds no *.feature file", hint="bdd-runner DIRECTORY")
    if find_spec("pytest_bdd") is None:
        raise ConfigInvalid("pytest-bdd is not installed", hint="pip install pytest-bdd")
    import pytest  # noqa: PLC0415  (only tests have it)

    return int(pytest.main([str(directory), *arguments]))
