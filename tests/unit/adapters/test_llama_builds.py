"""What llama.cpp carries is told by its files, and what is missing in a sentence."""

import grp
import os
import sys
from pathlib import Path

import pytest

from rbee.adapters.gpus import GpuProbe
from rbee.adapters.llama_builds import builds, lib_folder
from rbee.errors import BackendUnavailable
from rbee.pool_core import inventory
from rbee.pool_core.unit import Mode
from rbee.wire.pools import GpuInventory
from rbee.wire.workers import Backend


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    made = tmp_path / "lib"
    made.mkdir()
    for name in ("llama", "ggml", "ggml-base", "ggml-cpu", "ggml-rpc"):
        (made / f"lib{name}.so").touch()
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/dev").mkdir(parents=True)
    return tmp_path / "root"


def problems(lib: Path | None, root: Path, mode: Mode = Mode.SYSTEM) -> dict[str, str]:
    return {build.name: build.problem for build in builds(lib, root, mode)}


def backends(lib: Path | None, root: Path) -> tuple[Backend, ...]:
    return inventory.backends(GpuInventory(builds=builds(lib, root)))


def node(root: Path, name: str, mode: int = 0o666) -> Path:
    """Make a device node, as far as its path and who may open it go."""
    made = root / "dev" / name
    made.parent.mkdir(exist_ok=True)
    made.touch()
    made.chmod(mode)
    return made


def test_a_lean_build_carries_the_cpu_and_rpc_and_says_why_not_the_others(lib: Path, root: Path) -> None:
    found = builds(lib, root)
    assert [build.name for build in found if build.carried] == ["cpu", "rpc"]
    assert backends(lib, root) == (Backend.CPU,)
    said = problems(lib, root)
    assert (said["cpu"], said["rpc"]) == ("", "")
    assert said["cuda"] == (
        "there is no /dev/nvidiactl: the NVIDIA driver is not loaded, and llama.cpp here was built without cuda"
    )
    assert said["rocm"].startswith("there is no /dev/kfd: the amdgpu driver")


@pytest.mark.parametrize(
    ("backend", "library", "name"),
    [
        (Backend.CUDA, "libggml-cuda.so", "nvidiactl"),
        (Backend.ROCM, "libggml-hip.so.0", "kfd"),
        (Backend.VULKAN, "libggml-vulkan.so", "dri/renderD129"),
        (Backend.VULKAN, "libggml-vulkan.so", "nvidiactl"),
    ],
)
def test_a_backend_wants_its_library_and_its_device(
    lib: Path, root: Path, backend: Backend, library: str, name: str
) -> None:
    there = node(root, name)
    assert problems(lib, root)[backend] == (
        f"llama.cpp here was built without {backend}; docs/backends.md says how it is built with it"
    )
    (lib / library).touch()
    assert problems(lib, root)[backend] == ""
    assert backends(lib, root) == (Backend.CPU, backend)
    there.unlink()
    assert problems(lib, root)[backend].endswith(" is not loaded")
    assert backends(lib, root) == (Backend.CPU,)


def test_a_screen_of_a_server_is_no_gpu(lib: Path, root: Path) -> None:
    (lib / "libggml-vulkan.so").touch()
    node(root, "dri/card0")
    assert problems(lib, root)["vulkan"] == "there is no /dev/dri/renderD*: a graphics driver is not loaded"


def test_where_there_is_no_llama_that_is_said(tmp_path: Path, root: Path) -> None:
    other = tmp_path / "usr/lib"
    other.mkdir(parents=True)
    (other / "libc.so.6").touch()
    for nowhere in (other, tmp_path / "none"):
        assert set(problems(nowhere, root).values()) == {f"there is no libllama.so in {nowhere}"}
        assert backends(nowhere, root) == (Backend.CPU,)
    assert set(problems(None, root).values()) == {"llama_cpp is not installed here"}


@pytest.mark.parametrize(
    ("library", "name", "group", "mode", "open_to_workers"),
    [
        ("libggml-cuda.so", "nvidiactl", "root", 0o666, True),
        ("libggml-cuda.so", "nvidiactl", "video", 0o660, False),
        ("libggml-hip.so", "kfd", "render", 0o660, True),
        ("libggml-hip.so", "kfd", "root", 0o660, False),
        ("libggml-hip.so", "kfd", "render", 0o640, False),
        ("libggml-vulkan.so", "dri/renderD128", "video", 0o660, True),
        ("libggml-vulkan.so", "nvidiactl", "video", 0o600, False),
    ],
)
def test_what_a_unit_may_open_is_told_by_its_groups_and_not_by_who_asks(
    lib: Path, root: Path, monkeypatch: pytest.MonkeyPatch, *,
    library: str, name: str, group: str, mode: int, open_to_workers: bool,
) -> None:  # fmt: skip
    (lib / library).touch()
    node(root, name, mode)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, [])))
    monkeypatch.setattr(os, "access", lambda *_: True)  # as root
    usable = [backend for backend in backends(lib, root) if backend is not Backend.CPU]
    assert bool(usable) is open_to_workers
    said = [problem for problem in problems(lib, root).values() if "may not be opened" in problem]
    assert bool(said) is not open_to_workers
    assert all(problem.startswith(f"/dev/{name} may not be opened by workers: ch") for problem in said)


@pytest.mark.parametrize("may", [True, False])
def test_what_a_worker_of_our_own_manager_may_open_we_may(
    lib: Path, root: Path, monkeypatch: pytest.MonkeyPatch, may: bool
) -> None:
    (lib / "libggml-hip.so").touch()
    node(root, "kfd", 0o660)
    monkeypatch.setattr(os, "access", lambda *_: may)
    assert problems(lib, root, Mode.USER)["rocm"] == (
        "" if may else "/dev/kfd may not be opened by workers: usermod -aG render $USER, then log in anew"
    )


def test_the_folder_is_the_configured_one_the_environments_or_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lib_folder("/opt/a", {"LLAMA_CPP_LIB_PATH": "/opt/b"}) == Path("/opt/a")
    assert lib_folder("", {"LLAMA_CPP_LIB_PATH": "/opt/b"}) == Path("/opt/b")
    package = tmp_path / "site/llama_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)  # another test may have loaded the real one
    assert lib_folder("", {}) == package / "lib"


def test_the_real_one_carries_the_cpu(root: Path) -> None:
    assert "cpu" in [build.name for build in builds(lib_folder("", {}), root) if build.carried]


def test_a_refused_spawn_says_the_same_sentence(lib: Path, root: Path) -> None:
    found = GpuProbe(root, lib=lib).read()
    with pytest.raises(BackendUnavailable) as refused:
        inventory.require_backend(Backend.VULKAN, [Backend.CPU], found)
    assert refused.value.message == (f"backend vulkan is not available on this host: {problems(lib, root)['vulkan']}")
    assert refused.value.hint == "ask for one of: cpu"
    old = GpuInventory(reason="the NVIDIA driver is not loaded")
    assert inventory.why_not(Backend.CUDA, old) == "the NVIDIA driver is not loaded"


def test_a_device_that_vanishes_while_we_look_may_not_be_opened(lib: Path, root: Path) -> None:
    (lib / "libggml-vulkan.so").touch()
    (root / "dev/dri").mkdir(parents=True, exist_ok=True)
    (root / "dev/dri/renderD128").symlink_to("gone")
    assert "may not be opened" in problems(lib, root)["vulkan"]
