"""Build the Debian package, with Debian's own tools, into build/.

Usage: python3 -m tools.deb [files UNITS DESTDIR]

``files`` is for debian/rules: it puts what the package holds under DESTDIR, with units where the release wants them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tools import cache, environment, files, layout
from tools.layout import Layout
from tools.run import CHECKOUT, ToolError, main, run, say

SOURCES = (*environment.WHEEL_SOURCES, "tools", "units", "etc", "docs", "debian", "CHANGELOG.md")
BUILT = CHECKOUT / "build"


def build() -> Path:
    """Build the package and return where it is. From a copy: Debian's tools write into the sources and beside them.

    Raises:
        ToolError: the changelog is of another version than rbee, or a tool failed.
    """
    _check_version()
    with cache.building(BUILT / "deb") as temporary:
        source = temporary / "rbee"
        source.mkdir()
        for name in SOURCES:
            environment.copy(CHECKOUT / name, source / name)
        say("building the Debian package")
        run(["dpkg-buildpackage", "--build=binary", "--no-sign"], cwd=source, quiet=True)
        (made,) = temporary.glob("rbee_*.deb")
        return made.replace(BUILT / made.name)


def _check_version() -> None:
    changelog, package = CHECKOUT / "debian" / "changelog", CHECKOUT / "rbee" / "__init__.py"
    (theirs,) = re.findall(r"\Arbee \((.+?)\)", changelog.read_text())
    (ours,) = re.findall(r'^__version__ = "(.+)"$', package.read_text(), re.MULTILINE)
    if theirs != ours:
        raise ToolError(f"{changelog} begins with version {theirs} and rbee is {ours}: give it an entry for {ours}")


def install(place: Layout) -> None:
    """Put everything under the layout's ``destdir``; dpkg keeps the list of it."""
    contents = files.texts(place)
    environment.install(place)
    _compile(place)
    files.install(place, contents, [])


def _compile(place: Layout) -> None:
    """Compile anew: dpkg sets the times of files, and by those Python would take what pip has compiled for stale."""
    made = place.real(place.venv)
    python = next((made / "bin").glob("python3.*"))
    options = ["--invalidation-mode", "unchecked-hash", "-j0", "-qq", "-f", "-s", place.destdir]
    run([python, "-m", "compileall", *options, made / "lib"], quiet=True)


def _main(arguments: Sequence[str]) -> None:
    match arguments:
        case []:
            say(f"{build()} is built: apt install it by this path")
        case ["files", units, destdir]:
            install(layout.deb(Path(units), Path(destdir).absolute()))
        case _:
            raise ToolError("expected nothing, or: files UNITS DESTDIR")


if __name__ == "__main__":
    main(_main)
