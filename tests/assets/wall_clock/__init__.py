"""A wall clock that a test sets, for processes it starts: a small library in C that they load first."""

import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path


class WallClock:
    """Compiled into ``folder``; ``environ`` is what a process needs to have it."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "wall_clock", folder / "wall_clock.so"
        self.off_s = 0
        self.jump(0)
        source = Path(__file__).with_name("wall_clock.c")
        argv = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(argv, check=True)
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self._file)}

    def jump(self, seconds: int) -> None:
        """Set the clock forward, or back, for all that have it, now."""
        self.off_s += seconds
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("q", self.off_s))

    def now_ms(self) -> int:
        return int((time.time() + self.off_s) * 1000)
