"""What ``make install`` puts on a host, made once and laid over ``/`` as one more layer of each host.

Made in ``build/stage`` of the checkout before the rig's namespaces are entered (pip may need the network), and
made again only when a source changed. Copied to the rig's tmpfs then: overlayfs wants layers that do not
contain each other, and the checkout lies below ``/``.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rig.errors import RigError, call

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("rbee", "units", "etc", "docs/man", "tools", "Makefile", "setup.cfg", "setup.py")
HIDDEN = ("usr/local",)  # so that nothing this machine has there is taken for something rbee installed
LOG_TAIL = 3000


@dataclass(frozen=True)
class Stage:
    """A tree that ``make install`` made; locked, so that no other run changes it until it was copied."""

    root: Path
    lock: int

    def copy_to(self, layer: Path) -> None:
        """Copy the tree to where it can be a layer of the hosts' overlays, and let other runs have it."""
        call("cp", "--archive", f"{self.root}/.", str(layer))
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        for hidden in HIDDEN:
            os.setxattr(layer / hidden, "trusted.overlay.opaque", b"y")


def build() -> Stage:
    """Make what ``make install`` makes of the checkout, unless it is there already.

    Raises:
        RigError: ``make install`` failed; the message holds the end of what it said.
    """
    directory = CHECKOUT / "build" / "stage"
    directory.mkdir(parents=True, exist_ok=True)
    root, stamp = directory / "root", directory / "stamp"
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    wanted = fingerprint(SOURCES)
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        _make_install(root)
        stamp.write_text(wanted)
    return Stage(root, lock)


def _make_install(root: Path) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(CHECKOUT), "install", f"DESTDIR={root}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RigError(
            f"make install DESTDIR={root} ended with {done.returncode}:\n{done.stdout[-LOG_TAIL:]}\n"
            "hosts boot without rbee when asked to (--no-rbee)"
        )


def fingerprint(sources: Sequence[str]) -> str:
    """Return a text that is another when one of these files or folders of the checkout has changed."""
    digest = hashlib.sha256()
    for path in _files(sources):
        status = path.stat()
        digest.update(f"{path}\0{status.st_mtime_ns}\0{status.st_size}\0{status.st_mode}\n".encode())
    return digest.hexdigest()


def _files(sources: Sequence[str]) -> Iterator[Path]:
    for source in sources:
        top = CHECKOUT / source
        files = [top] if top.is_file() else sorted(top.rglob("*"))
        yield from (path for path in files if path.is_file() and "__pycache__" not in path.parts)
