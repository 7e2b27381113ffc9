"""A copy of the stand-in for nixpkgs that knows this host's Python and packages, and Nix with it in nixpkgs' place.

Nix is asked for nothing but what is on this machine: no substituter, no registry, no sandbox.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools import tree

ROOT = Path(__file__).parents[2]
NIXPKGS = ROOT / "tests" / "nix" / "nixpkgs"
CONFIG = """\
experimental-features = nix-command flakes
sandbox = false
build-users-group =
substituters =
flake-registry =
warn-dirty = false
"""


class NixError(Exception):
    """Nix ended with an error; the text is all that it said."""


def nix(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """Run a command of Nix's and return its standard output.

    Raises:
        NixError: it failed.
    """
    done = subprocess.run(
        [*map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NIX_CONFIG": CONFIG},
    )
    if done.returncode:
        raise NixError(done.stderr)
    return done.stdout
