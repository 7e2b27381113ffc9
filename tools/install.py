"""Install rbee on this machine, or remove it.

Usage: python3 -m tools.install install|uninstall|install-user|uninstall-user|demo-files [PREFIX [DESTDIR]]
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tools import activate, environment, files, layout
from tools.layout import Layout
from tools.run import CHECKOUT, ToolError, main, say


def install(place: Layout) -> None:
    """Put everything in place; configuration that is there stays as it is."""
    _check_writable(place)
    _check_alone(place)
    previous, contents = _read_manifest(place), files.texts(place)
    environment.install(place)
    installed = files.install(place, contents, previous)
    place.real(place.manifest).write_text("".join(f"{path}\n" for path in installed))
    say(f"rbee is installed in {place.real(place.venv)}, its configuration is {place.real(place.config)}")


def uninstall(place: Layout) -> None:
    """Stop everything, and remove what ``install`` and sleeping workers wrote, and nothing else."""
    manifest = place.real(place.manifest)
    if not manifest.exists():
        raise ToolError(f"no {manifest}: rbee is not installed here")
    _check_writable(place)
    activate.stop(place)
    files.forget(place)
    files.remove(place, _read_manifest(place))
    shutil.rmtree(place.real(place.venv))
    activate.reload(place)
    kept = [path for path in _kept(place) if path.is_dir() and any(path.iterdir())]
    say(f"rbee is removed; kept, since it is yours: {', '.join(map(str, kept)) or 'nothing'}")


def _kept(place: Layout) -> list[Path]:
    if place.sysusers is None:
        return [place.config.parent, Path.home() / ".local/share/rbee", Path.home() / ".local/state/rbee"]
    return [place.real(Path(path)) for path in ("/etc/rbee", "/var/lib/rbee")]


def _read_manifest(place: Layout) -> list[Path]:
    manifest = place.real(place.manifest)
    return [Path(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


def _check_writable(place: Layout) -> None:
    top = place.real(place.venv)
    while not top.exists():
        top = top.parent
    if not os.access(top, os.W_OK):
        raise ToolError(f"you may not write to {top}: run this as root, or make install-user")


def _check_alone(place: Layout) -> None:
    """Refuse to hide the Debian package, whose units and commands come after ours."""
    if place.sysusers is not None and place.real(layout.DEBIANS / "bin" / "queen-rbee").exists():
        raise ToolError(
            "rbee is installed here as a Debian package: first apt remove rbee, which keeps configuration and state"
        )


def _install_and_start(place: Layout) -> None:
    install(place)
    activate.start(place)


ACTIONS: dict[str, Callable[[Layout], None]] = {
    "install": _install_and_start,
    "uninstall": uninstall,
    "install-user": _install_and_start,
    "uninstall-user": uninstall,
    "demo-files": install,
}


def _main(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] not in ACTIONS:
        raise ToolError(f"expected one of {', '.join(ACTIONS)}")
    action, prefix, destdir = [*arguments, "/usr/local", "/"][:3] if len(arguments) < 3 else arguments[:3]
    place = {
        "install-user": layout.user(Path.home()),
        "uninstall-user": layout.user(Path.home()),
        "demo-files": layout.private(CHECKOUT / ".demo"),
    }.get(action) or layout.system(Path(prefix), Path(destdir or "/").absolute())
    ACTIONS[action](place)


if __name__ == "__main__":
    main(_main)
