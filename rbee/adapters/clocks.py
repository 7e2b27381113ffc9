"""The machine's clocks: the one on the wall, which people and NTP set, and the one that counts from the boot."""

import os
import time
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def up_ms() -> int:
    """Return how long the machine has been up, its sleep included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@cache
def boot() -> str:
    """Return the name of this boot, another one each time; empty where nobody says.

    A unit without most of /proc (ProcSubset=pid) is told by its own manager: RBEE_BOOT=%b.
    """
    try:
        return os.environ.get("RBEE_BOOT") or _BOOT.read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return ""
