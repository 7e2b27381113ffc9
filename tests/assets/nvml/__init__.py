"""A FAKE NVML in C for machines without a GPU: the real pynvml loads it and asks it; see nvml.c for what it answers."""

import os
import subprocess
import threading
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
GIB = 1 << 30


def build(folder: Path) -> Path:
    """Compile the library into ``folder`` and return it; two who do it at once get the same."""
    library = folder / SONAME
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = library.with_name(f"{SONAME}.{os.getpid()}-{threading.get_ident()}")
        source = Path(__file__).with_name("nvml.c")
        argv = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}"]
        subprocess.run([*argv, "-o", str(made), str(source)], check=True)
        made.replace(library)
    return library


def line(what: str, /, **facts: object) -> str:
    """Return one line of a scenario; blanks in names become underscores."""
    return " ".join([what, *(f"{key}={str(value).replace(' ', '_')}" for key, value in facts.items())])


def gpu(number: int = 0, *, total: int = 8 * GIB, used: int = 0, **facts: object) -> str:
    """Return a healthy GPU, but for ``facts``; None leaves one out."""
    healthy = {
        "name": "NVIDIA GeForce RTX 3070",
        "uuid": f"GPU-{number}",
        "total": total,
        "used": used,
        "util": 7,
        "temp": 41,
        "power": 75_500,
        "limit": 220_000,
        "pci": f"00000000:0{number + 1}:00.0",
        "cc": "8.6",
    }
    return line("gpu", **{key: value for key, value in (healthy | facts).items() if value is not None})


def process(gpu: int, pid: int, memory: int | None = None, kind: str = "c") -> str:
    return line("process", gpu=gpu, pid=pid, kind=kind, **({} if memory is None else {"memory": memory}))


def scenario(*lines: str, version: str = "570.1", error: int = 0) -> str:
    """Return the text of a scenario file."""
    return "\n".join([line("driver", version=version, error=error), *lines]) + "\n"
