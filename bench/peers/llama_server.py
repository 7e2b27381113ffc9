"""llama.cpp's own server, of the sources in llama-cpp-python's source distribution: the peer that is closest.

It is compiled once (CMakeLists.txt beside this says how) and kept in the cache of the tools; neither ggml nor llama is
compiled, so that it computes with the libraries that the worker has.
"""

import hashlib
import os
import shutil
import sys
import tarfile
from pathlib import Path

from bench.peers.libraries import Libraries
from tools import cache
from tools.dependencies import pinned
from tools.run import run, say
from tools.wheels import LLAMA

_HERE = Path(__file__).parent
_NAME = "llama-server"


def ensure(libraries: Libraries) -> Path:
    """Return the program, compiled if need be; the first time takes the network, and some minutes.

    Raises:
        ToolError: it cannot be had.
    """
    recipe = hashlib.sha256((_HERE / "CMakeLists.txt").read_bytes()).hexdigest()[:8]
    kept = cache.directory() / "peers" / f"{_NAME}-{pinned(LLAMA).rpartition('=')[2]}-{recipe}"
    with cache.locked(_NAME):
        if not (kept / _NAME).exists():
            say(f"compiling {_NAME}, once (5 to 10 minutes on 2 cores)")
            _build(kept, libraries)
    return kept / _NAME


def argv(program: Path, *, model: Path, port: int, slots: int, ctx: int, threads: int, gpu: bool) -> list[str]:
    """Return how it is started: all is as it comes, but what has to be the same for all."""
    given = {
        "model": model, "host": "127.0.0.1", "port": port, "parallel": slots, "ctx-size": ctx * slots,
        "threads": threads, "gpu-layers": 999 if gpu else 0,
    }  # fmt: skip
    words = [str(word) for key, value in given.items() for word in (f"--{key}", value)]
    return [str(program), *words, "--no-ui", "--offline"]


def _build(kept: Path, libraries: Libraries) -> None:
    with cache.building(kept) as temporary:
        build = temporary / "build"
        words = [f"-DLLAMA_SOURCES={_sources(temporary)}", f"-DLLAMA_LIBRARIES={libraries.folder}"]
        run(["cmake", "-S", _HERE, "-B", build, *words], quiet=True)
        jobs = str(len(os.sched_getaffinity(0)))
        run(["nice", "cmake", "--build", build, "--target", _NAME, "--parallel", jobs], quiet=True)
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy2(build / "bin" / _NAME, kept / ".new")
        (kept / ".new").replace(kept / _NAME)


def _sources(temporary: Path) -> Path:
    """Fetch and unpack the source distribution; return llama.cpp in it."""
    words = ["--quiet", "--no-deps", "--no-binary=:all:", f"--dest={temporary}", pinned(LLAMA)]
    run([sys.executable, "-m", "pip", "download", *words], quiet=True)
    (packed,) = temporary.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(temporary, filter="data")
    (sources,) = temporary.glob("*/vendor/llama.cpp")
    return sources
