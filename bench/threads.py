"""What a worker's process spends outside of llama.cpp, from what the kernel knows of its threads and it of its engine.

The thread that computes is ``decode``, and so are those called that OpenMP starts for it: the kernel gives a new thread
the name of the one that started it (and ``servers`` sees that it knows the names that Python gives, which Python 3.14
does by itself). All that other threads do is Python's part: HTTP, templates, tokens of prompts. Of ``decode`` itself,
the worker tells on /metrics how long it was about anything but llama.cpp.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Process
from bench.servers import SECRET
from rbee.client.http import HttpClient

DECODE = "decode"
REST = re.compile(r'^rbee_worker_engine_seconds\{part="rest"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    name: str
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process has spent since it began; ``python_s`` is None where it does not tell."""

    cpu_s: float
    python_s: float | None = None


async def spent(process: Process, *, ours: bool) -> Spent:
    """Return what it has spent."""
    cpu_s = process.cpu_s()
    if not ours:
        return Spent(cpu_s=cpu_s)
    async with HttpClient(process.url, token=SECRET) as http, http.bytes_from("/metrics", 0) as (_, pieces):
        told = b"".join([piece async for piece in pieces])
    return Spent(cpu_s=cpu_s, python_s=python_s(threads(process.pid), told.decode()))


def threads(pid: int) -> list[Thread]:
    """Return the threads that a process has now."""
    found = []
    for folder in Path(f"/proc/{pid}/task").iterdir():
        name = (folder / "comm").read_text(encoding="utf-8").strip()
        ran_ns = int((folder / "schedstat").read_text(encoding="utf-8").split()[0])
        found.append(Thread(name=name, cpu_s=ran_ns / 1e9))
    return found


def python_s(threads: list[Thread], metrics: str) -> float | None:
    """Return the CPU time of Python's part, or None where names or numbers are missing."""
    rest = REST.search(metrics)
    if rest is None or not any(each.name == DECODE for each in threads):
        return None
    return sum(each.cpu_s for each in threads if each.name != DECODE) + float(rest.group(1))
