"""``llm-worker-rbee --hold``: map the files of a model, lock the mapping, and wait to be stopped."""

import ctypes
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rbee import log
from rbee.adapters.notify import Notifier
from rbee.pool_core.unit import unquoted

_STEP_BYTES = 64 << 20
_PROT_READ, _MAP_SHARED = 1, 1
_FAILED = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Hold what ``argv`` names until SIGTERM; exit 71 (EX_OSERR) when it cannot be locked."""
    words = unquoted(argv)
    model = next(word.removeprefix("--id=") for word in words if word.startswith("--id="))
    log.setup("llm-worker-rbee", model=model)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    notifier = Notifier.from_environ(environ)
    try:
        size = _hold([Path(word) for word in words if not word.startswith("--")], notifier)
    except InterruptedError:
        return 0  # nobody wants it any more
    except OSError as error:
        log.error("model.not_held", reason=error.strerror, hint="ulimit -l; LimitMEMLOCK= of your user manager")
        return os.EX_OSERR
    notifier.ready(f"holding {size} bytes")
    log.event("model.held", size_bytes=size)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def _hold(paths: Sequence[Path], notifier: Notifier) -> int:
    total, done = sum(path.stat().st_size for path in paths), 0
    for path in paths:
        for locked in _lock(path):
            done += locked
            notifier.status(f"caching {done / total:.0%}")
    return total


def _lock(path: Path) -> Iterator[int]:
    """Lock all pages of a file, and yield the bytes of each step; the mapping lives as long as the process.

    Raises:
        InterruptedError: we were told to end meanwhile.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        address = _libc.mmap(None, size, _PROT_READ, _MAP_SHARED, file.fileno(), 0)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for offset in range(0, size, _STEP_BYTES):
        if signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
            raise InterruptedError
        length = min(_STEP_BYTES, size - offset)
        if _libc.mlock(address + offset, length) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        yield length
