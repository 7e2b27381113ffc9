"""Two Debian packages of this checkout, one of a later version than the other, as hosts get them.

Built in ``build/packages`` before the rig is entered (pip may need the network), and built again only when a source
changed. The later one is the same program under another version: what an upgrade replaces is every file.
"""

import fcntl
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from rbee import __version__
from tests.rig.errors import RigError
from tests.rig.host import Host
from tests.rig.stage import CHECKOUT, fingerprint
from tools import deb, environment

LATER = f"{__version__}.1"
LOG_TAIL = 3000


@dataclass(frozen=True)
class Package:
    """A file that ``make deb`` made."""

    path: Path
    version: str

    def install_on(self, host: Host, *, check: bool = True) -> CompletedProcess[str]:
        """Let dpkg install it, as who has no network does."""
        return host.run(["dpkg", "--install", self.put_on(host)], check=check, timeout=180)

    def put_on(self, host: Host) -> str:
        """Copy it to the host; return where it lies there."""
        shutil.copy(self.path, host.root / "root")
        return f"/root/{self.path.name}"


@dataclass(frozen=True)
class Packages:
    """``first`` is of the checkout's own version."""

    first: Package
    later: Package


def build() -> Packages:
    """Build both, unless they are there.

    Raises:
        RigError: building failed; the message holds the end of what was said.
    """
    directory = CHECKOUT / "build" / "packages"
    directory.mkdir(parents=True, exist_ok=True)
    stamp = directory / "stamp"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint(deb.SOURCES)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            for old in directory.glob("*.deb"):
                old.unlink()
            for version in (__version__, LATER):
                _build(directory, version)
            stamp.write_text(wanted)
    return Packages(*(_find(directory, version) for version in (__version__, LATER)))


def _find(directory: Path, version: str) -> Package:
    (path,) = directory.glob(f"rbee_{version}_*.deb")
    return Package(path, version)


def _build(directory: Path, version: str) -> None:
    """Build from a copy of the checkout in which the version is another."""
    source = directory / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in deb.SOURCES:
        environment.copy(CHECKOUT / name, source / name)
    for name in ("rbee/__init__.py", "debian/changelog"):
        text = (source / name).read_text()
        (source / name).write_text(re.sub(re.escape(__version__), version, text, count=1))
    done = subprocess.run(
        [sys.executable, "-m", "tools.deb"],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RigError(f"python -m tools.deb ended with {done.returncode}:\n{done.stderr[-LOG_TAIL:]}")
    for package in (source / "build").glob("*.deb"):
        package.rename(directory / package.name)
    shutil.rmtree(source)
