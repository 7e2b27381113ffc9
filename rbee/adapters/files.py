"""Files that are there whole or not at all, and that belong to whom the folder belongs to."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rbee.errors import InsufficientDisk, NotPermitted

READABLE = 0o644  # workers run as other users; models are no secret on their host


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` under ``path`` so that a crash leaves the old file or the new one (write, fsync, rename, fsync)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), READABLE)
            os.fsync(stream.fileno())
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rename(source: Path, target: Path) -> None:
    """Rename durably, and give the file to the owner of its folder (root may act for the daemon's user)."""
    give_to_owner(source, target.parent)
    source.replace(target)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def make_folder(path: Path) -> None:
    """Make ``path``, readable to all and owned as its parent is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o755)
        give_to_owner(path, path.parent)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold ``path``, a folder or a file that is made for it, against others who do; the kernel lets go when we end.

    Raises:
        BlockingIOError: somebody has it, and we do not ``wait``.
    """
    made = 0 if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, made | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def own_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a file that is nothing but a lock, made where it is missing; it is the owner's of its folder.

    Raises:
        BlockingIOError: somebody has it, and we do not ``wait``.
        NotPermitted: its folder is not ours.
    """
    with contextlib.ExitStack() as held:
        with permitted(path):
            make_folder(path.parent)
            fresh = not path.exists()
            held.enter_context(locked(path, wait=wait))
            if fresh:
                give_to_owner(path, path.parent)
        yield


@contextlib.contextmanager
def permitted(path: Path) -> Iterator[None]:
    """Turn a refusal of the file system into NotPermitted, or InsufficientDisk, that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientDisk(
                f"{error.filename or path}: {(error.strerror or 'no space').lower()}",
                hint=f"df -h {path}; df -i {path}",
            ) from None
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        where = error.filename or path
        raise NotPermitted(
            f"{where}: {(error.strerror or 'not permitted').lower()}",
            hint=f"act as the owner of {path}: ls -ld {path}",
        ) from None


def give_to_owner(path: Path, folder: Path) -> None:
    """Give what root made to the owner of ``folder``, who is to work with it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
