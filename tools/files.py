"""The files of an installation outside its venv: commands, units, configuration, examples, completions, man pages."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.layout import Layout
from tools.run import CHECKOUT, ToolError

COMMANDS = ("queen-rbee", "rbee-keeper", "rbee", "pool-managerd", "rbee-hive", "llm-worker-rbee", "bdd-runner")
PROGRAMS = ("install", "kill")  # of the operating system, by the placeholders that stand for them in units
PLACEHOLDER = re.compile(r"@[A-Za-z_]+@")


def texts(layout: Layout) -> dict[Path, str]:
    """Return the text files to install, by final path.

    Raises:
        ToolError: a placeholder would be left in one.
    """
    return {target: _fill(source, layout) for source, target in _sources(layout)}


def install(layout: Layout, contents: dict[Path, str], previous: list[Path]) -> list[Path]:
    """Write commands and text files, remove those of the ``previous`` installation that are gone; return final paths.

    Raises:
        ToolError: a command's name is taken by a stranger.
    """
    installed = [_link(layout, command) for command in COMMANDS] + list(contents)
    for target, text in contents.items():
        _write(layout.real(target), text)
    for gone in set(previous) - set(installed):
        layout.real(gone).unlink(missing_ok=True)
    _write_config(layout)
    return installed


def remove(layout: Layout, installed: list[Path]) -> None:
    """Remove files that ``install`` wrote, and the folders that are ours alone once nothing else is in them."""
    for path in installed:
        layout.real(path).unlink(missing_ok=True)
    for folder in sorted({path.parent for path in installed}, reverse=True):
        for ours in (folder, *folder.parents):
            if ours.is_relative_to(layout.share / "rbee"):
                _remove_empty(layout.real(ours))


def forget(layout: Layout) -> None:
    """Remove what is left of conversations that workers kept, after a crash say: nobody would do it later."""
    for cache in layout.caches:
        for left in layout.real(cache).glob("rbee-worker-*"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # somebody keeps something of his own there
        folder.rmdir()


def _link(layout: Layout, command: str) -> Path:
    path, target = layout.bin / command, layout.venv / "bin" / command
    real = layout.real(path)
    ours = real.is_symlink() and real.readlink() == target
    if real.exists() and not ours:
        raise ToolError(f"{real} is there already and is not from an earlier install: move it away")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.unlink(missing_ok=True)
    real.symlink_to(target)
    return path


def _sources(layout: Layout) -> Iterator[tuple[Path, Path]]:
    """Yield source and final path of each text file there is."""
    for unit in sorted(layout.units_from.iterdir()):
        yield unit, layout.units / unit.name
    for name, target in (("rbee.sysusers", layout.sysusers), ("rbee.tmpfiles", layout.tmpfiles)):
        if target is not None:
            yield CHECKOUT / "units" / name, target
    for completion in sorted((CHECKOUT / "etc" / "completions").glob("*")):
        yield completion, layout.share / _completion(completion.name, layout.zsh)
    for policy in sorted((CHECKOUT / "etc" / "policies").glob("*.star")):
        yield policy, layout.share / "rbee" / "policies" / policy.name
    for page in sorted((CHECKOUT / "docs" / "man").glob("*.[1-9]")):
        yield page, layout.share / "man" / f"man{page.suffix[1:]}" / page.name


def _completion(name: str, zsh: str) -> Path:
    stem, _, shell = name.partition(".")
    if shell == "fish":
        return Path("fish/vendor_completions.d", name)
    if shell == "zsh" or name.startswith("_"):
        return Path("zsh", zsh, f"_{stem.removeprefix('_')}")
    return Path("bash-completion/completions", stem)


def _fill(source: Path, layout: Layout) -> str:
    text = source.read_text().replace("@bindir@", str(layout.venv / "bin")).replace("@share@", str(layout.share))
    for name in PROGRAMS:
        if f"@{name}@" in text:
            text = text.replace(f"@{name}@", str(layout.program(name)))
    if left := PLACEHOLDER.search(text):
        raise ToolError(f"{source} has the placeholder {left.group()}, which nobody fills in")
    return text


def _write(real: Path, text: str) -> None:
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text(text)
    real.chmod(0o644)


def _write_config(layout: Layout) -> None:
    """Give the example as configuration, unless there is one: it belongs to the operator, uninstall included."""
    real = layout.real(layout.config)
    if not real.exists():
        real.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / "etc" / "rbee.toml", real)
