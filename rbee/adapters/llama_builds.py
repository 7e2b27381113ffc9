"""What llama.cpp on this host was built with, and why workers here cannot use it, from files alone.

Neither is llama_cpp imported (that is slow) nor a library loaded (that opens drivers): each backend of ggml is a shared
library beside libllama.so, and each kind of GPU has a device node.
"""

import importlib.util
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rbee.wire.pools import Build
from rbee.wire.workers import Backend

LIB_VARIABLE = "LLAMA_CPP_LIB_PATH"
"""By which llama_cpp is told of another libllama.so; a worker gets it from us."""

RPC = "rpc"
_HOW = "docs/backends.md says how it is built with it"


@dataclass(frozen=True, slots=True)
class _Kind:
    """``node`` is what a worker has to open; without it there is no device, or no ``driver`` for it."""

    name: str
    library: str
    node: str = ""
    driver: str = ""


_KINDS = (
    _Kind(Backend.CPU.value, "ggml-cpu"),
    _Kind(Backend.CUDA.value, "ggml-cuda", "dev/nvidiactl", "the NVIDIA driver"),
    _Kind(Backend.ROCM.value, "ggml-hip", "dev/kfd", "the amdgpu driver with compute support"),
    _Kind(Backend.VULKAN.value, "ggml-vulkan", "dev/dri", "a graphics driver"),
    _Kind(RPC, "ggml-rpc"),
)


def lib_folder(configured: str, environ: Mapping[str, str]) -> Path | None:
    """Return where libllama.so lies: as configured, else as ``LIB_VARIABLE`` says, else in the Python package."""
    named = configured or environ.get(LIB_VARIABLE, "")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("llama_cpp")
    folders = spec.submodule_search_locations if spec else None
    return next((Path(folder, "lib") for folder in folders or ()), None)


def builds(lib: Path | None, root: Path = Path("/")) -> tuple[Build, ...]:
    """Return each backend, carried or not, with what stands between it and a worker.

    Args:
        lib: the folder of libllama.so.
        root: where /dev is.
    """
    there = _libraries(lib)
    return tuple(_build(kind, there, root) for kind in _KINDS)


def backends(lib: Path | None, root: Path = Path("/")) -> tuple[Backend, ...]:
    """Return what workers here can run on. The CPU is tried whatever the files are called."""
    usable = {build.name for build in builds(lib, root) if not build.problem}
    return (Backend.CPU, *(each for each in Backend if each is not Backend.CPU and each.value in usable))


def _build(kind: _Kind, there: frozenset[str], root: Path) -> Build:
    carried = any(name.startswith(f"lib{kind.library}") for name in there)
    if not there:
        return Build(name=kind.name, carried=False, problem="no libllama.so is found on this host")
    problem = next(_problems(kind, root, carried=carried), "")
    return Build(name=kind.name, carried=carried, problem=problem)


def _problems(kind: _Kind, root: Path, *, carried: bool) -> Iterator[str]:
    """Yield what is wrong, that first which would have to be mended first."""
    node = root / kind.node if kind.node else None
    if node is not None and not node.exists():
        without = "" if carried else f", and llama.cpp here was built without {kind.name}"
        yield f"there is no /{kind.node}: {kind.driver} is not loaded{without}"
    if not carried:
        yield f"llama.cpp here was built without {kind.name}; {_HOW}"
    if kind.name == Backend.CUDA and node is not None and not _may_open(node):
        yield f"/{kind.node} may not be opened by workers: chmod 666 /dev/nvidia*"


def _may_open(node: Path) -> bool:
    """Say whether a worker, which has a user of its own, may open a device; by its group it may open others."""
    found = node.stat()
    return not stat.S_ISCHR(found.st_mode) or found.st_mode & 0o006 == 0o006 or os.access(node, os.R_OK | os.W_OK)


def _libraries(lib: Path | None) -> frozenset[str]:
    """Return the names of the shared libraries in ``lib``; none where it holds no libllama.so, or some other."""
    try:
        return frozenset(each.name for each in lib.iterdir() if ".so" in each.name) if lib is not None else frozenset()
    except OSError:
        return frozenset()
