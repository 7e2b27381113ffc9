"""What this host has: processors, memory, disk, and the backends its llama.cpp was built for."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from rbee.pool_core.ports import Resident
from rbee.wire.pools import HostResources
from rbee.wire.workers import Backend

_LIBRARIES = {Backend.CUDA: "ggml-cuda", Backend.ROCM: "ggml-hip", Backend.VULKAN: "ggml-vulkan"}
_DEVICES = {Backend.CUDA: "dev/nvidiactl", Backend.ROCM: "dev/kfd", Backend.VULKAN: "dev/dri"}


def slept_s() -> float:
    """Return for how long this host has slept since it was switched on: one clock goes on then, the other does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class HostProbe:
    """Reads /proc and the cgroup this process is limited by.

    Args:
        models_dir: whose disk counts; need not exist yet.
        root: where /proc and /sys are.
    """

    def __init__(self, models_dir: Path, root: Path = Path("/")) -> None:
        self._models_dir, self._root = models_dir, root

    async def resources(self) -> HostResources:
        return await asyncio.to_thread(self._resources)

    async def resident(self, pids: Collection[int]) -> Mapping[int, Resident]:
        return await asyncio.to_thread(self._resident, pids)

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
        """Return total and available bytes: the machine's, or those of the host's cgroup in a container."""
        info = meminfo((self._root / "proc/meminfo").read_text())
        total, available = info["MemTotal"], info["MemAvailable"]
        for limit, used in self._limits():
            total, available = min(total, limit), min(available, max(0, limit - used))
        return total, available

    def _limits(self) -> list[tuple[int, int]]:
        """Return limit and use of the topmost cgroup we see: workers are not below our own, but below that."""
        groups = self._root / "sys/fs/cgroup"
        files = [
            (groups / "memory/memory.limit_in_bytes", groups / "memory/memory.usage_in_bytes"),
            (groups / "memory.max", groups / "memory.current"),
        ]
        pairs = [(_number(limit), _number(used)) for limit, used in files]
        return [(limit, used) for limit, used in pairs if limit is not None and used is not None]


def backends(root: Path = Path("/")) -> tuple[Backend, ...]:
    """Return what workers here can run on: the CPU, and each kind of GPU that is there and built for."""
    found = [kind for kind, library in _LIBRARIES.items() if _is_built(library) and (root / _DEVICES[kind]).exists()]
    return (Backend.CPU, *found)


def meminfo(text: str) -> dict[str, int]:
    """Return the sizes in /proc/meminfo, or in the status of a process, in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _is_built(library: str) -> bool:
    """Say whether the installed llama.cpp has a backend's library; llama_cpp itself is not imported (it is slow)."""
    spec = importlib.util.find_spec("llama_cpp")
    folders = spec.submodule_search_locations if spec else None
    return any(any(Path(folder, "lib").glob(f"lib{library}*")) for folder in folders or ())


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
