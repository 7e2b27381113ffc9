"""Wheels of the two dependencies that PyPI has as source only, built once and kept in the cache.

With RBEE_LLAMA_BACKEND=cuda, rocm or vulkan llama.cpp is built for that kind of GPU too; those wheels lie apart.

pystemd takes 20 s to compile. llama-cpp-python takes 2 minutes built lean as here, and 5 as it comes: without its
tools, server, examples, multimodal part and the ``common`` library, of which the Python binding uses nothing.
"""

import os
import sys
import zipfile
from pathlib import Path

from tools import cache
from tools.dependencies import ACCELERATORS, accelerator, pinned
from tools.run import run, say

LLAMA = "llama-cpp-python"
PYSTEMD = "pystemd"
LLAMA_FLAGS = (
    "-DGGML_NATIVE=OFF",  # the wheel may be carried to another machine
    "-DLLAVA_BUILD=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DGGML_RPC=ON",
)
# llama-cpp-python forces LLAMA_BUILD_COMMON=ON in CMake's cache; a plain variable, set by a file that the project
# is told to include, is stronger than the cache.
LLAMA_INCLUDE = "set(LLAMA_BUILD_COMMON OFF)\n"


def ensure(pip: Path) -> Path:
    """Return the directory with both wheels, for ``pip --find-links``; ``pip`` is a venv's Python that has pip."""
    directory = cache.directory() / "-".join(("wheels", *accelerator()))
    with cache.locked("wheels"):
        for name in (PYSTEMD, LLAMA):
            if not _is_there(directory, pinned(name)):
                _build(pip, directory, pinned(name))
    return directory


def _is_there(directory: Path, requirement: str) -> bool:
    name, version = requirement.replace("-", "_").split("==")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = os.uname().machine
    found = [
        wheel
        for python in ("py3-none", f"{tag}-{tag}")
        for wheel in directory.glob(f"{name}-{version}-{python}-*{machine}.whl")
    ]
    return any(_is_whole(wheel) for wheel in found)


def _is_whole(wheel: Path) -> bool:
    """Tell whether every byte is as packed; a wheel that is not is removed."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.testzip() is None:
                return True
    except zipfile.BadZipFile:
        pass
    wheel.unlink()
    return False


def _build(pip: Path, directory: Path, requirement: str) -> None:
    of_llama = LLAMA in requirement
    gpu = [ACCELERATORS[name] for name in accelerator()] if of_llama else []
    more = [os.environ.get("CMAKE_ARGS", "")] if gpu else []  # -DCMAKE_CUDA_ARCHITECTURES=…, and the like
    minutes = "an hour on 2 cores" if gpu else "about 2 minutes on 2 cores"
    say(f"building {requirement}, once ({minutes if of_llama else '20 s'})")
    with cache.building(directory / "x") as temporary:
        include = temporary / "lean.cmake"
        include.write_text(LLAMA_INCLUDE)
        env = {
            "CMAKE_ARGS": " ".join((*LLAMA_FLAGS, *gpu, f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={include}", *more)),
            # Unset, every compiler starts at once.
            "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0))),
            "FORCE_CMAKE": "1",
        }
        argv: list[str | Path] = [
            pip,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-cache-dir",
            "--wheel-dir",
            temporary,
            requirement,
        ]
        run(argv, env=env, quiet=True)
        for wheel in temporary.glob("*.whl"):
            wheel.replace(directory / wheel.name)
