"""The installed dependencies as one cached tree, so that installing rbee again takes seconds."""

import shutil
import venv
from pathlib import Path

from tools import cache, dependencies, wheels
from tools.run import run, say

EXTRAS = ("worker", "verify", "postgres")
KEPT = 2  # trees; each has 300 MB, and going back to the last branch should be quick
NOT_INSTALLED = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
BUILD_REQUIREMENT = "setuptools>=77"  # builds rbee's own wheel


def ensure() -> Path:
    """Return a venv with pip, setuptools, the model and every dependency, but not rbee itself."""
    trees = cache.directory() / "trees"
    tree = trees / dependencies.fingerprint(*EXTRAS)
    with cache.locked("trees"):
        if not (tree / "complete").exists():
            _build(tree)
        tree.touch()
        _forget_old(trees)
    return tree


def copy_packages(tree: Path, target: Path) -> None:
    """Copy a tree's packages into another venv's, without what only builds."""
    ignore = shutil.ignore_patterns(*NOT_INSTALLED, "pip-*", "setuptools-*")
    shutil.copytree(packages(tree), packages(target), ignore=ignore, symlinks=True, dirs_exist_ok=True)


def packages(environment: Path) -> Path:
    """Return the site-packages of a venv."""
    return next((environment / "lib").glob("python3*")) / "site-packages"


def _build(tree: Path) -> None:
    """Build in place, since a venv cannot be moved; the file ``complete`` comes last."""
    shutil.rmtree(tree, ignore_errors=True)
    say("installing rbee's dependencies into the cache, once")
    venv.create(tree, with_pip=True, symlinks=True)
    python = tree / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(
        [*pip, "--find-links", wheels.ensure(python), BUILD_REQUIREMENT, *dependencies.requirements(*EXTRAS)],
        quiet=True,
    )
    run([*pip, "--no-deps", dependencies.MODEL], quiet=True)
    (tree / "complete").touch()


def _forget_old(trees: Path) -> None:
    newest_first = sorted(trees.iterdir(), key=lambda tree: tree.stat().st_mtime, reverse=True)
    for old in newest_first[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
