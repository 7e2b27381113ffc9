"""What llama.cpp carries is told by its files, and what is missing in a sentence."""

import os
import sys
from pathlib import Path

import pytest

from rbee.adapters.gpus import GpuProbe
from rbee.adapters.llama_builds import backends, builds, lib_folder
from rbee.errors import BackendUnavailable
from rbee.pool_core import inventory
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


def problems(lib: Path | None, root: Path) -> dict[str, str]:
    return {build.name: build.problem for build in builds(lib, root)}


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
    ("backend", "library", "node"),
    [
        (Backend.CUDA, "libggml-cuda.so", "nvidiactl"),
        (Backend.ROCM, "libggml-hip.so.0", "kfd"),
        (Backend.VULKAN, "libggml-vulkan.so", "dri"),
    ],
)
def test_a_backend_wants_its_library_and_its_device(
    lib: Path, root: Path, backend: Backend, library: str, node: str
) -> None:
    (root / "dev" / node).touch()
    assert problems(lib, root)[backend] == (
        f"llama.cpp here was built without {backend}; docs/backends.md says how it is built with it"
    )
    (lib / library).touch()
    assert problems(lib, root)[backend] == ""
    assert backends(lib, root) == (Backend.CPU, backend)
    (root / "dev" / node).unlink()
    assert problems(lib, root)[backend].endswith(" is not loaded")
    assert backends(lib, root) == (Backend.CPU,)


def test_where_there_is_no_llama_that_is_said(tmp_path: Path, root: Path) -> None:
    for nowhere in (None, tmp_path / "none"):
        assert set(problems(nowhere, root).values()) == {"no libllama.so is found on this host"}
        assert backends(nowhere, root) == (Backend.CPU,)


@pytest.mark.parametrize(("mode", "open_to_workers"), [(0o666, True), (0o660, False)])
def test_a_device_that_workers_may_not_open_is_none(
    lib: Path, root: Path, monkeypatch: pytest.MonkeyPatch, mode: int, open_to_workers: bool
) -> None:
    (lib / "libggml-cuda.so").touch()
    (root / "dev/nvidiactl").symlink_to("/dev/null")
    monkeypatch.setattr(os, "access", lambda *_: False)
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        if path.name != "nvidiactl":
            return found
        return os.stat_result((found.st_mode & ~0o777 | mode, *found[1:]))

    monkeypatch.setattr(Path, "stat", stat)
    assert (problems(lib, root)["cuda"] == "") is open_to_workers
    if not open_to_workers:
        assert problems(lib, root)["cuda"] == "/dev/nvidiactl may not be opened by workers: chmod 666 /dev/nvidia*"


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
