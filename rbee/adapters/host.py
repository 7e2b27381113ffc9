"""What this host has: processors, memory, disk."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from rbee.pool_core import disk
from rbee.pool_core.ports import Resident
from rbee.wire.pools import HostResources

WORKERS = "rbee.slice/rbee-workers.slice"
_CGROUP_FILES = (
    # The kernel gives the pages of files back when somebody needs memory; mapped weights are such.
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")),
    ("", "memory.max", "memory.current", ("active_file", "inactive_file")),
)


def slept_s() -> float:
    """Return for how long this host has slept since it was switched on: one clock goes on then, the other does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class HostProbe:
    """Reads /proc and the cgroups that limit workers.

    Args:
        models_dir: whose disk counts; need not exist yet.
        root: where /proc and /sys are.
        slices: the cgroup of the slice that workers are in, below the topmost one; it need not be there.
        cache_dir: where workers keep conversations while they sleep.
    """

    def __init__(
        self,
        models_dir: Path,
        root: Path = Path("/"),
        slices: Path = Path(WORKERS),
        cache_dir: Path = Path("/var/cache"),
    ) -> None:
        self._models_dir, self._root = models_dir, root
        self._slices, self._cache_dir = slices, cache_dir

    async def room_to_keep(self) -> int:
        return await asyncio.to_thread(self._room_to_keep)

    async def resources(self) -> HostResources:
        return await asyncio.to_thread(self._resources)

    async def resident(self, pids: Collection[int]) -> Mapping[int, Resident]:
        return await asyncio.to_thread(self._resident, pids)

    def _room_to_keep(self) -> int:
        there = shutil.disk_usage(_existing(self._cache_dir))
        return max(0, there.free - disk.spare_bytes(there.total))

    def _resident(self, pids: Collection[int]) -> dict[int, Resident]:
        found = {}
        for pid in pids:
            with contextlib.suppress(OSError, KeyError):
                status = meminfo((self._root / f"proc/{pid}/status").read_text())
                found[pid] = Resident(anon=status["RssAnon"] + status["RssShmem"], peak=status["VmHWM"])
        return found

    def _resources(self) -> HostResources:
        total, available = self._memory()
        return HostResources(
            cpus=len(os.sched_getaffinity(0)),
            memory_total_bytes=total,
            memory_available_bytes=available,
            disk_free_bytes=shutil.disk_usage(_existing(self._models_dir)).free,
        )

    def _memory(self) -> tuple[int, int]:
        """Return total and available bytes: the machine's, or less where a cgroup of the workers has a limit."""
        info = meminfo((self._root / "proc/meminfo").read_text())
        total, available = info["MemTotal"], info["MemAvailable"]
        for limit, used in self._limits():
            total, available = min(total, limit), min(available, max(0, limit - used))
        return total, available

    def _limits(self) -> Iterator[tuple[int, int]]:
        """Yield limit and use of each cgroup that workers are in: their slice, what that is in, up to the topmost one.

        In a container the topmost is the container's. Our own is another one.
        """
        for controller, limit, used, reclaimable in _CGROUP_FILES:
            top = self._root / "sys/fs/cgroup" / controller
            for group in (top / self._slices, *(top / self._slices).parents):
                if group.is_relative_to(top):
                    most, now = _number(group / limit), _number(group / used)
                    if most is not None and now is not None:
                        yield most, max(0, now - _sum_of(group / "memory.stat", reclaimable))


def meminfo(text: str) -> dict[str, int]:
    """Return the sizes in /proc/meminfo, or in the status of a process, in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _sum_of(file: Path, keys: Collection[str]) -> int:
    """Return the sum of some lines of a file whose lines are ``key number``; 0 where it is not there."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(words[1]) for words in lines if len(words) == 2 and words[0] in keys)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
