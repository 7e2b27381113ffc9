"""The venv of an installation: cached dependencies, rbee's own wheel, and paths that name its final place."""

import shutil
import venv
from pathlib import Path

from tools import cache, tree
from tools.layout import Layout
from tools.run import CHECKOUT, run

WHEEL_SOURCES = ("rbee", "setup.cfg", "setup.py", "README.md", "LICENSE")


def install(layout: Layout) -> None:
    """Put a fresh venv with rbee in place of the one that may be there."""
    final = layout.real(layout.venv)
    dependencies = tree.ensure()
    with cache.building(final) as temporary:
        made = temporary / "venv"
        venv.create(made, with_pip=False, symlinks=True)
        tree.copy_packages(dependencies, made)
        _install_rbee(dependencies, made, temporary)
        _rename_paths(made, layout.venv)
        _replace(final, made, temporary / "old")


def _install_rbee(dependencies: Path, made: Path, temporary: Path) -> None:
    source = temporary / "source"
    source.mkdir()
    for name in WHEEL_SOURCES:
        copy(CHECKOUT / name, source / name)
    pip: list[str | Path] = [dependencies / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", temporary, source], quiet=True)
    (wheel,) = temporary.glob("rbee-*.whl")
    python = made / "bin" / "python"
    # pip is not in the new venv, and has to be told that this one is not for it.
    run([*pip, f"--python={python}", "install", "--no-deps", "--no-index", wheel], quiet=True)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, if it is there, without what Python has compiled in it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copy2(source, target)


def _rename_paths(made: Path, final: Path) -> None:
    """Let scripts and pyvenv.cfg name the place where the venv will be, not the one where it was made."""
    for path in [made / "pyvenv.cfg", *(made / "bin").iterdir()]:
        if path.is_file() and not path.is_symlink():
            path.write_text(path.read_text().replace(str(made), str(final)))


def _replace(final: Path, made: Path, old: Path) -> None:
    """Swap the two. Moved and not renamed: on an overlay (a container's root) a lower directory cannot be renamed."""
    if final.exists():
        shutil.move(final, old)
    shutil.move(made, final)
