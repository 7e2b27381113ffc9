"""The flake as a whole: it parses, evaluates for both systems, and has what it says it has."""

import json
import re
from pathlib import Path

from tests.nix.standin import ROOT, SYSTEM, Flake, nix

PROGRAMS = (
    "queen-rbee", "rbee-keeper", "rbee", "pool-managerd", "rbee-hive", "llm-worker-rbee", "bdd-runner", "rbee-broker",
)  # fmt: skip
SYSTEMS = {"x86_64-linux", "aarch64-linux"}
CUDA = {"x86_64-linux": {"rbee-cuda"}, "aarch64-linux": set[str]()}


def test_every_file_parses(flake: Flake) -> None:
    files = sorted(flake.source.rglob("*.nix"))
    assert len(files) > 30
    nix("nix-instantiate", "--parse", *files)


def test_every_output_evaluates(flake: Flake) -> None:
    flake.check()


def test_there_is_what_a_person_looks_for(flake: Flake) -> None:
    shown = flake.show()
    assert set(shown["nixosConfigurations"]) == {"blep", "workstation", "mac"}
    assert set(shown["nixosModules"]) == {"default", "rbee"}
    assert set(shown["overlays"]) == {"default"}
    for output in ("packages", "apps", "checks", "devShells", "formatter"):
        assert set(shown[output]) == SYSTEMS, output
    for system in SYSTEMS:
        assert set(shown["packages"][system]) == {"default", "rbee", *CUDA[system]}
        assert set(shown["apps"][system]) == {*PROGRAMS, "default", "demo"}
        machines = {path.stem for path in (ROOT / "nix" / "tests").glob("*.nix")}
        assert machines
        assert set(shown["checks"][system]) == {"package", "unit-tests", "lint", *machines}


def test_cuda_is_compiled_where_it_is_asked_for(flake: Flake) -> None:
    """Unfree, and so refused by nixpkgs unless it was allowed: the flake's own package allows it for itself alone."""
    package = "packages.x86_64-linux.rbee-cuda"
    assert "-DGGML_CUDA=ON" in flake.eval(f"{package}.python.llama-cpp-python.said")
    assert "GGML_CUDA" not in flake.eval("packages.x86_64-linux.rbee.python.llama-cpp-python.said")


def test_cuda_is_found_by_cmake_and_its_driver_is_not_wanted_while_it_is_built(flake: Flake) -> None:
    cuda = flake.eval("packages.x86_64-linux.rbee-cuda.python.llama-cpp-python", "p: { inherit (p) said imports; }")
    assert re.search(r"-DCMAKE_CUDA_COMPILER=/nix/store/\S+-cuda_nvcc/bin/nvcc", cuda["said"])
    assert re.search(r"-DCUDAToolkit_ROOT=/nix/store/\S+-cuda_nvcc", cuda["said"])
    assert cuda["imports"] == [], "libcuda.so.1 is the driver's"
    assert flake.eval("packages.x86_64-linux.rbee.python.llama-cpp-python.imports") == ["llama_cpp"]


def test_apps_name_programs_that_are_there(flake: Flake) -> None:
    apps = flake.eval(f"apps.{SYSTEM}", "builtins.mapAttrs (_: app: { inherit (app) type program; })")
    package = flake.package()
    for name in PROGRAMS:
        assert apps[name] == {"type": "app", "program": str(package / "bin" / name)}
    assert apps["default"]["program"] == f"{package}/bin/rbee-keeper"


def test_the_lock_names_one_input_and_is_left_alone(flake: Flake) -> None:
    lock = json.loads(Path(flake.source, "flake.lock").read_text())
    assert Path(flake.source, "flake.lock").read_bytes() == (ROOT / "flake.lock").read_bytes()
    assert set(lock["nodes"]) == {"root", "nixpkgs"}
    locked = lock["nodes"]["nixpkgs"]["locked"]
    assert (locked["owner"], locked["repo"], locked["type"]) == ("NixOS", "nixpkgs", "github")
    assert locked["rev"] == "61b7c44c4073f0b827768aff0049561b5110ea5a"
    assert locked["narHash"] == "sha256-12KrbMiWLcf8m7pCvAtZh1ZrgF85ZXDXvfR/fWTKy84="
