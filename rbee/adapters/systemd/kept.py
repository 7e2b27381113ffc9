"""What workers leave on disk of their conversations while they sleep, and how it is removed.

systemd owns the folders (CacheDirectory=), and where a worker has a user of its own nobody else can look into them or
delete them. So systemd is asked to (CleanUnit), while it still knows the unit: after that nobody knows that the folder
is one. What a reboot leaves is removed at boot: by rbee.tmpfiles, in a user's manager by the next worker's ``sweep``.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

from rbee import log
from rbee.adapters.systemd.bus import Bus
from rbee.adapters.systemd.watch import CHANGED, Watch
from rbee.errors import NotFound, RbeeError
from rbee.pool_core import names
from rbee.pool_core.lifecycle import GONE
from rbee.pool_core.unit import Mode

CLEAN_S = 30.0
_PREFIX = "rbee-worker-"


def folder(mode: Mode, environ: Mapping[str, str]) -> Path:
    """Return where the manager makes those folders."""
    if mode is Mode.SYSTEM:
        return Path("/var/cache")
    return Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/")) / ".cache")


@contextlib.asynccontextmanager
async def cleaning(mode: Mode, service: str) -> AsyncIterator[None]:
    """Stop ``service`` within this; what it has kept is gone afterwards.

    A unit that has stopped is forgotten at once, so a reference holds it until it is clean.
    """
    bus = await asyncio.to_thread(Bus, mode)
    with bus:
        with contextlib.suppress(NotFound):
            await asyncio.to_thread(bus.call, b"RefUnit", b"s", service.encode())
        yield
        try:
            async with asyncio.timeout(CLEAN_S):
                await _clean(mode, bus, service)
        except (RbeeError, TimeoutError) as error:
            log.warning("worker.not_cleaned", unit=service, reason=str(error) or f"longer than {CLEAN_S:g} s")


def sweep(base: Path, workers: Collection[str]) -> None:
    """Remove what is left of workers that are no more; for a user's manager, whose files are all one's own."""
    there = {names.stem(worker) for worker in workers}
    for left in base.glob(f"{_PREFIX}*"):
        if left.name not in there and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


async def _clean(mode: Mode, bus: Bus, service: str) -> None:
    """Have systemd delete the folder, and wait until it has: a unit is in maintenance for so long."""
    async with Watch(mode, service) as watch:
        with contextlib.suppress(NotFound):
            await asyncio.to_thread(bus.call, b"ResetFailedUnit", b"s", service.encode())
        await asyncio.to_thread(bus.call, b"CleanUnit", b"sas", service.encode(), [b"cache"])
        begun = False
        async for member, _, body in watch.announcements():
            changed = body[1] if member == CHANGED and isinstance(body[1], dict) else {}
            state = changed.get(b"ActiveState", b"").decode()
            begun = begun or state == "maintenance"
            if begun and state in GONE:
                return
