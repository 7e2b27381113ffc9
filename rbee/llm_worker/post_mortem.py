"""How a worker ended, told to the journal by its own unit (ExecStopPost=), while its cgroup still stands.

systemd says ``oom-kill`` only where the kernel tells it (cgroup v2); elsewhere a worker that ate its memory looks
like one that somebody killed, and only the memory counters know better. Runs at every stop: imports next to nothing.
"""

from collections.abc import Callable, Mapping, Sequence

from rbee import log

_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes the largest page-aligned number instead of "max"

Read = Callable[[str], str]
"""Returns a counter file's text, empty when there is none."""


class Memory:
    """What the cgroup counted; None where it does not say."""

    def __init__(self, oom_kills: int = 0, peak_bytes: int | None = None, limit_bytes: int | None = None) -> None:
        self.oom_kills, self.peak_bytes, self.limit_bytes = oom_kills, peak_bytes, limit_bytes


def memory_folder(membership: str) -> tuple[str, int]:
    """Return where the memory counters lie, and the cgroup version, from the text of /proc/self/cgroup.

    A host may have both (hybrid); the memory controller is then v1's.
    """
    unified = ""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return f"/sys/fs/cgroup/memory{path}", 1
        if not controllers:
            unified = path.removesuffix("/.control")  # where systemd runs ExecStopPost= of a delegated unit
    return f"/sys/fs/cgroup{unified}", 2


def read_memory(version: int, read: Read) -> Memory:
    """Return the counters of a cgroup, whose files ``read`` reads by name."""
    if version == 1:
        return Memory(
            _entry(read("memory.oom_control"), "oom_kill") or 0,
            _bytes(read("memory.max_usage_in_bytes")),
            _bytes(read("memory.limit_in_bytes")),
        )
    return Memory(
        _entry(read("memory.events"), "oom_kill") or 0,
        _bytes(read("memory.peak")),
        _bytes(read("memory.max")),
    )


def verdict(environ: Mapping[str, str], memory: Memory) -> dict[str, str | int | bool | None]:
    """Return the facts of ``worker.ended``; ``environ`` as systemd.exec(5) fills it for ExecStopPost=."""
    result = environ.get("SERVICE_RESULT", "")
    code, status = environ.get("EXIT_CODE", ""), environ.get("EXIT_STATUS", "")
    killed = code == "killed" and status in ("KILL", "9")
    return {
        "result": result,
        "code": code,
        "status": status,
        "oom": result == "oom-kill" or (killed and memory.oom_kills > 0),
        "peak_bytes": memory.peak_bytes,
        "limit_bytes": memory.limit_bytes,
    }


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Log ``worker.ended``. Never fails: a unit whose ExecStopPost= fails counts as failed itself."""
    try:
        worker = next((word.removeprefix("--id=") for word in argv if word.startswith("--id=")), "unknown")
        log.setup("llm-worker-rbee", worker=worker)
        folder, version = memory_folder(_read("/proc/self/cgroup"))
        facts = verdict(environ, read_memory(version, lambda name: _read(f"{folder}/{name}")))
        good = facts["result"] == "success"
        log.event("worker.ended", level=log.INFO if good else log.WARNING, **facts)
    except Exception as error:  # noqa: BLE001  (see above)
        log.foreign("post_mortem.failed", error)
    return 0


def _entry(text: str, key: str) -> int | None:
    """Return the number after ``key`` in a flat-keyed file."""
    words = text.split()
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    return _bytes(pairs.get(key, ""))


def _bytes(text: str) -> int | None:
    word = text.strip()
    return int(word) if word.isdigit() and int(word) < _UNLIMITED_BYTES else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123  (pathlib costs 5 ms)
            return file.read()
    except OSError:
        return ""
