"""Write down which Python packages the Nix package may need, and by which hash: ``python -m tools.wheel_lock``.

nixpkgs has most of what rbee depends on, though not always as new as setup.cfg wants. ``nix/python`` takes from there
what is new enough, and the rest from PyPI by ``nix/python/lock.json``, which this writes: for each dependency of
rbee's and of its tests, direct or not, the version that the tests run with, who wants which versions of it, and the
files for each Python and machine. Run it in the checkout's own .venv after a change of setup.cfg's lists.
"""

import base64
import dataclasses
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import dependencies, tree, venv
from tools.run import CHECKOUT, ToolError, main, say

LOCK = CHECKOUT / "nix" / "python" / "lock.json"
EXTRAS = (*tree.EXTRAS, "test")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = {"x86_64-linux": "x86_64", "aarch64-linux": "aarch64"}
MANYLINUX = ("manylinux_2_{minor}_{machine}", "manylinux2014_{machine}")
GLIBC_MINORS = (34, 31, 28, 27, 26, 24, 17)  # what wheels are built for; nixpkgs' own is newer than all of these
SOURCES = ("llama-cpp-python", "pystemd", "sdnotify")
"""What PyPI has as source only."""


class Missing(Exception):
    """PyPI has no file of this requirement that fits."""


@dataclass(frozen=True, slots=True)
class File:
    """One wheel or source of a package, and its hash as Nix writes it."""

    file: str
    hash: str


@dataclass(slots=True, kw_only=True)
class Package:
    """One distribution: ``wanted`` are all bounds that somebody sets, ``requires`` the names of what it imports."""

    version: str
    wanted: set[str] = field(default_factory=set)
    requires: set[str] = field(default_factory=set)
    files: dict[str, File] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """Return it as it stands in the lock."""
        return {
            "version": self.version,
            "wanted": sorted(self.wanted),
            "requires": sorted(self.requires),
            "files": {key: dataclasses.asdict(file) for key, file in _folded(self.files).items()},
        }


def write(_: Sequence[str] = ()) -> None:
    """Write the lock for what this checkout's ``.venv`` holds now."""
    packages = closure(tree.packages(venv.VENV))
    for python in PYTHONS:
        for system, machine in MACHINES.items():
            say(f"asking for wheels: Python {python}, {system}")
            for name, file in _wheels(packages, python, machine):
                packages[name].files[f"{_tag(python)}-{system}"] = file
    say(f"asking for sources: {', '.join(SOURCES)}")
    for name in SOURCES:
        ((_name, file),) = _pip(["--no-binary", name, f"{name}=={packages[name].version}"])
        packages[name].files["source"] = file
    if without := [name for name, package in packages.items() if not package.files]:
        raise ToolError(f"PyPI has no file that fits of {', '.join(without)}")
    text = json.dumps({name: package.written() for name, package in packages.items()}, indent=1, sort_keys=True)
    LOCK.write_text(text + "\n")


def closure(site_packages: Path) -> dict[str, Package]:
    """Return what rbee and its tests depend on, by name, files not included.

    Raises:
        ToolError: something that a Python asks for is not there.
    """
    installed = {
        canonicalize_name(each.metadata["Name"]): each
        for each in importlib.metadata.distributions(path=[str(site_packages)])
    }
    model = Requirement(dependencies.MODEL)
    found = {str(canonicalize_name(model.name)): Package(version=installed[canonicalize_name(model.name)].version)}
    waiting = [(Requirement(line), "rbee") for line in dependencies.requirements(*EXTRAS)]
    while waiting:
        requirement, by = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in installed:
            raise ToolError(f"{by} asks for {requirement}, which is not in {site_packages}")
        new = name not in found
        package = found.setdefault(name, Package(version=installed[name].version))
        package.wanted |= {str(bound) for bound in requirement.specifier}
        needed = list(_needed(installed[name], requirement.extras))
        if new or requirement.extras:
            waiting += [(each, name) for each in needed]
        package.requires |= {canonicalize_name(each.name) for each in needed}
    return found


def _needed(distribution: importlib.metadata.Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what it requires on any of the Pythons, on Linux."""
    worlds = [
        {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
        for python in PYTHONS
        for extra in ("", *extras)
    ]
    for requirement in map(Requirement, distribution.requires or []):
        if requirement.marker is None or any(map(requirement.marker.evaluate, worlds)):
            yield requirement


def _wheels(packages: Mapping[str, Package], python: str, machine: str) -> list[tuple[str, File]]:
    """Return the wheels for one Python on one machine; what has none there is said and left out."""
    platforms = [
        f"--platform={pattern.format(minor=minor, machine=machine)}" for minor in GLIBC_MINORS for pattern in MANYLINUX
    ]
    wanted = {f"{name}=={package.version}" for name, package in packages.items() if name not in SOURCES}
    while True:
        try:
            return _pip(["--only-binary=:all:", f"--python-version={python}", *platforms, *sorted(wanted)])
        except Missing as missing:
            say(f"no wheel of {missing}")
            wanted.remove(str(missing))


def _pip(arguments: Collection[str]) -> list[tuple[str, File]]:
    """Return the file that pip would install for each, by name, without installing one.

    Raises:
        Missing: there is none of one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        report = Path(folder, "report")
        options = ["--dry-run", "--ignore-installed", "--no-deps", f"--report={report}", f"--target={folder}"]
        done = subprocess.run([*pip, *options, *arguments], capture_output=True, text=True, check=False)
        if missing := re.search(r"No matching distribution found for (\S+)", done.stderr):
            raise Missing(missing[1])
        if done.returncode:
            raise ToolError(done.stderr)
        return [_named(item) for item in json.loads(report.read_text())["install"]]


def _named(item: Mapping[str, Any]) -> tuple[str, File]:
    download = item["download_info"]
    digest = bytes.fromhex(download["archive_info"]["hash"].removeprefix("sha256="))
    file = download["url"].partition("#")[0].rpartition("/")[2]
    return canonicalize_name(item["metadata"]["name"]), File(file, f"sha256-{base64.b64encode(digest).decode()}")


def _folded(files: Mapping[str, File]) -> dict[str, File]:
    """Say once what is the same for every Python, and for every machine."""
    folded = dict(files)
    for system in MACHINES:
        keys = [f"{_tag(python)}-{system}" for python in PYTHONS]
        if len({files.get(key) for key in keys}) == 1 and keys[0] in files:
            folded = {key: file for key, file in folded.items() if key not in keys}
            folded[f"any-{system}"] = files[keys[0]]
    if len(folded) == len(MACHINES) and len(set(folded.values())) == 1:
        return {"any": next(iter(folded.values()))}
    return folded


def _tag(python: str) -> str:
    return f"cp{python.replace('.', '')}"


if __name__ == "__main__":
    main(write)
