"""What llama.cpp on this host was built with, and why workers here cannot use it, from files alone.

Neither is llama_cpp imported (that is slow) nor a library loaded (that opens drivers): each backend of ggml is a shared
library beside libllama.so, and each kind of GPU has a device node.
"""

import grp
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rbee.pool_core import sandbox
from rbee.pool_core.unit import Mode
from rbee.wire.pools import Build
from rbee.wire.workers import Backend

LIB_VARIABLE = "LLAMA_CPP_LIB_PATH"
"""By which llama_cpp is told of another libllama.so; a worker gets it from us."""

RPC = "rpc"
_HOW = "docs/backends.md says how it is built with it"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A worker has to open one of ``nodes``; where there is none there is no device, or no ``driver`` for it."""

    name: str
    library: str
    nodes: tuple[str, ...] = ()
    driver: str = ""


_KINDS = (
    _Kind(Backend.CPU.value, "ggml-cpu"),
    _Kind(Backend.CUDA.value, "ggml-cuda", ("dev/nvidiactl",), "the NVIDIA driver"),
    _Kind(Backend.ROCM.value, "ggml-hip", ("dev/kfd",), "the amdgpu driver with compute support"),
    _Kind(Backend.VULKAN.value, "ggml-vulkan", ("dev/dri/renderD*", "dev/nvidiactl"), "a graphics driver"),
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


def builds(lib: Path | None, root: Path = Path("/"), mode: Mode = Mode.SYSTEM) -> tuple[Build, ...]:
    """Return each backend, carried or not, with what stands between it and a worker.

    Args:
        lib: the folder of libllama.so.
        root: where /dev is.
        mode: which manager has the workers: the system's gives each a user of its own, who owns nothing.
    """
    there = _libraries(lib)
    return tuple(_build(kind, lib, there, root, mode) for kind in _KINDS)


def _build(kind: _Kind, lib: Path | None, there: frozenset[str], root: Path, mode: Mode) -> Build:
    carried = any(name.startswith(f"lib{kind.library}") for name in there)
    if not there:
        where = "llama_cpp is not installed here" if lib is None else f"there is no libllama.so in {lib}"
        return Build(name=kind.name, carried=False, problem=where)
    problem = next(_problems(kind, root, mode, carried=carried), "")
    return Build(name=kind.name, carried=carried, problem=problem)


def _problems(kind: _Kind, root: Path, mode: Mode, *, carried: bool) -> Iterator[str]:
    """Yield what is wrong, that first which would have to be mended first."""
    nodes = [node for pattern in kind.nodes for node in sorted(root.glob(pattern))]
    if kind.nodes and not nodes:
        without = "" if carried else f", and llama.cpp here was built without {kind.name}"
        yield f"there is no /{kind.nodes[0]}: {kind.driver} is not loaded{without}"
    if not carried:
        yield f"llama.cpp here was built without {kind.name}; {_HOW}"
    if nodes and not any(_may_open(node, kind, mode) for node in nodes):
        first = f"/{nodes[0].relative_to(root)}"
        yield f"{first} may not be opened by workers: {_opening(first, kind, mode)}"


def _may_open(node: Path, kind: _Kind, mode: Mode) -> bool:
    """Say whether a worker may open a device. In a user's manager it is we; else somebody with the unit's groups.

    What we may ourselves is no guide there: root may all, and the pool's user has groups that workers lack.
    """
    if mode is Mode.USER:
        return os.access(node, os.R_OK | os.W_OK)
    try:
        found = node.stat()
    except OSError:  # it is gone since we saw it: a driver is being reloaded
        return False
    of_all, of_group = found.st_mode & 0o006 == 0o006, found.st_mode & 0o060 == 0o060
    return of_all or (of_group and _group(found.st_gid) in sandbox.groups(kind.name))


def _opening(node: str, kind: _Kind, mode: Mode) -> str:
    if kind.name == Backend.CUDA:
        return "chmod 666 /dev/nvidia*"
    return (
        "usermod -aG render $USER, then log in anew" if mode is Mode.USER else f"chgrp render {node}; chmod 660 {node}"
    )


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def _libraries(lib: Path | None) -> frozenset[str]:
    """Return the names of the shared libraries in ``lib``; none where it holds no libllama.so."""
    try:
        there = frozenset(each.name for each in lib.iterdir() if ".so" in each.name) if lib is not None else frozenset()
    except OSError:
        return frozenset()
    return there if any(name.startswith("libllama.so") for name in there) else frozenset()
