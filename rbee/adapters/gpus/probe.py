"""All GPUs of all vendors as one inventory."""

import asyncio
import dataclasses
import threading
from pathlib import Path

from rbee.adapters.gpus import amd
from rbee.adapters.gpus.nvml import Nvml
from rbee.adapters.llama_builds import builds
from rbee.pool_core.unit import Mode
from rbee.wire.pools import GpuInventory


class GpuProbe:
    """Asks anew each time: a GPU may come (driver loaded) and go (fallen off the bus) while we run.

    Args:
        root: where /sys, /proc and /dev are.
        lib: where llama.cpp's libraries lie.
        mode: which manager has the workers.
    """

    def __init__(self, root: Path = Path("/"), *, lib: Path | None = None, mode: Mode = Mode.SYSTEM) -> None:
        self._lib, self._mode = lib, mode
        self._nvml = Nvml(root)
        self._root = root
        self._turn = threading.Lock()

    async def inventory(self) -> GpuInventory:
        return await asyncio.to_thread(self.read)

    async def reopened(self) -> GpuInventory:
        await asyncio.to_thread(self._let_go)
        return await self.inventory()

    def read(self) -> GpuInventory:
        """Return what there is now; blocks for as long as the driver takes."""
        with self._turn:  # a look that finds a lost GPU closes the driver, which must not be under another's feet
            found = self._nvml.read()
        others = amd.read(self._root)
        reason = "" if others and not found.gpus else found.reason
        gpus = (*found.gpus, *others)
        return dataclasses.replace(found, gpus=gpus, reason=reason, builds=builds(self._lib, self._root, self._mode))

    def _let_go(self) -> None:
        with self._turn:
            self._nvml.close()
