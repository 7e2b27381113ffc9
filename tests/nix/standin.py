"""Nix with our stand-in for nixpkgs in nixpkgs' place, and nothing from elsewhere: no cache, registry or network."""

import functools
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tools import tree

ROOT = Path(__file__).parents[2]
NIXPKGS = ROOT / "tests" / "nix" / "nixpkgs"
SYSTEM = f"{platform.machine()}-linux"
SOURCES = (
    "flake.nix", "flake.lock", "nix", "rbee", "units", "etc", "docs", "tools", "tests", "bench", "debian", ".ci",
    "setup.cfg", "setup.py", "ruff.toml", "README.md", "LICENSE",
)  # fmt: skip
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


def nix(*words: str | Path, cwd: Path = ROOT) -> str:
    """Return what a command of Nix says.

    Raises:
        NixError: it failed.
    """
    done = subprocess.run(
        list(map(str, words)),
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


def copy_source(target: Path) -> Path:
    """Copy what the flake is made of, so that a test may change it and nobody's checkout is looked at by git."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return target


def copy_nixpkgs(target: Path) -> Path:
    """Copy the stand-in, and tell the copy where this host's Python is and the packages of ``make install``."""
    shutil.copytree(NIXPKGS, target)
    packages = _stored_packages()
    python = Path("/usr/bin/python3").resolve()
    version = subprocess.check_output([python, "-c", "import platform; print(platform.python_version())"], text=True)
    host = {"python": str(python), "pythonVersion": version.strip(), "packages": packages}
    (target / "host.json").write_text(json.dumps(host))
    return target


def _stored_packages() -> dict[str, str]:
    """Put the dependencies into the store, whole, and return where they are and their hash."""
    path = nix("nix", "store", "add-path", "--name", "rbee-python-packages", tree.packages(tree.ensure())).strip()
    return {"path": path, "sha256": nix("nix-store", "--query", "--hash", path).strip()}


class Flake:
    """A copy of the flake, evaluated and built with a stand-in for nixpkgs."""

    def __init__(self, source: Path, nixpkgs: Path) -> None:
        self.source = source
        self._options = ("--override-input", "nixpkgs", f"path:{nixpkgs}", "--no-write-lock-file")

    def check(self) -> None:
        """Evaluate every output, as a person's ``nix flake check`` would first."""
        nix("nix", "flake", "check", "--no-build", *self._options, f"path:{self.source}")

    def show(self) -> Any:
        """Return what outputs there are, and of what kind each is."""
        return json.loads(nix("nix", "flake", "show", "--json", *self._options, f"path:{self.source}"))

    def eval(self, attribute: str, apply: str = "x: x") -> Any:
        """Return an attribute as a value."""
        return json.loads(
            nix("nix", "eval", "--json", *self._options, f"path:{self.source}#{attribute}", "--apply", apply)
        )

    @functools.cache  # noqa: B019 (a flake lives as long as the tests that use it)
    def build(self, *attributes: str) -> list[Path]:
        """Build, and return where each is in the store."""
        wanted = [f"path:{self.source}#{attribute}" for attribute in attributes]
        built = json.loads(nix("nix", "build", "--no-link", "--json", "--print-build-logs", *self._options, *wanted))
        return [Path(one["outputs"]["out"]) for one in built]

    def package(self) -> Path:
        """Return where rbee is in the store."""
        (out,) = self.build(f"packages.{SYSTEM}.rbee")
        return out

    def toplevel(self, host: str) -> Any:
        """Return what a host of the example house amounts to: units, files in /etc, users, packages."""
        (out,) = self.build(f"nixosConfigurations.{host}.config.system.build.toplevel")
        return json.loads((out / "rendered.json").read_text())
