"""Write down which Python packages the Nix package may need, and by which hash: ``python -m tools.wheel_lock``.

nixpkgs has most of what rbee depends on, though not always as new as setup.cfg wants. ``nix/python`` takes from there
what is new enough, and the rest from PyPI by ``nix/python/lock.json``, which this writes: for each dependency of
rbee's, direct or not, and those of its tests, the version that the tests run with, who wants which versions of it, and the files for each
Python and machine. Run it in the checkout's own .venv after a change of setup.cfg's lists.
"""

import base64
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

Found = dict[str, dict[str, str]]


class Missing(Exception):
    """PyPI has no file of this requirement that fits."""


def write(_: Sequence[str] = ()) -> None:
    """Write the lock for what this checkout's ``.venv`` holds now."""
    packages = closure(tree.packages(venv.VENV))
    for python in PYTHONS:
        for system, machine in MACHINES.items():
            say(f"asking for wheels: Python {python}, {system}")
            _add_wheels(packages, python, system, machine)
    _add_sources(packages)
    for name, package in packages.items():
        package["files"] = _folded(package["files"])
        if not package["files"]:
            raise ToolError(f"PyPI has no file of {name} {package['version']} that fits")
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    LOCK.write_text(json.dumps(packages, indent=1, sort_keys=True) + "\n")


def closure(site_packages: Path) -> dict[str, dict[str, Any]]:
    """Return what rbee depends on, by name, with version, direct requirements and who wants which versions.

    Raises:
        ToolError: something that a Python asks for is not in the tree.
    """
    installed = {
        canonicalize_name(each.metadata["Name"]): each
        for each in importlib.metadata.distributions(path=[str(site_packages)])
    }
    found: dict[str, dict[str, Any]] = {}
    model = Requirement(dependencies.MODEL)
    waiting = [(Requirement(line), "rbee") for line in dependencies.requirements(*EXTRAS)]
    while waiting:
        requirement, by = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in installed:
            raise ToolError(f"{by} asks for {requirement}, which is not in .venv")
        new = name not in found
        package = found.setdefault(name, {"version": installed[name].version, "wanted": [], "requires": [], "files": {}})
        package["wanted"] = sorted({*package["wanted"], *map(str, requirement.specifier)})
        needed = list(_needed(installed[name], requirement.extras))
        if new or requirement.extras:
            waiting += [(each, name) for each in needed]
        package["requires"] = sorted({*package["requires"], *(canonicalize_name(each.name) for each in needed)})
    found[model.name] = {"version": installed[model.name].version, "wanted": [], "requires": [], "files": {}}
    return found


def _needed(distribution: importlib.metadata.Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what it requires on any of the Pythons, on Linux."""
    for line in distribution.requires or []:
        requirement = Requirement(line)
        for extra in ("", *extras):
            environments = [{"python_version": python, "python_full_version": f"{python}.0", "extra": extra} for python in PYTHONS]
            if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
                yield requirement
                break


def _add_wheels(packages: Mapping[str, dict[str, Any]], python: str, system: str, machine: str) -> None:
    platforms = [
        word
        for minor in GLIBC_MINORS
        for pattern in MANYLINUX
        for word in ("--platform", pattern.format(minor=minor, machine=machine))
    ]
    wanted = {f"{name}=={package['version']}" for name, package in packages.items() if name not in SOURCES}
    while wanted:
        try:
            found = _pip(["--only-binary", ":all:", "--python-version", python, *platforms, *sorted(wanted)])
        except Missing as missing:
            say(f"no wheel: {missing}")
            wanted.remove(str(missing))
            continue
        for name, file in found:
            packages[name]["files"][f"cp{python.replace('.', '')}-{system}"] = file
        return


def _add_sources(packages: Mapping[str, dict[str, Any]]) -> None:
    say(f"asking for sources: {', '.join(SOURCES)}")
    for name in SOURCES:
        ((_, file),) = _pip(["--no-binary", name, f"{name}=={packages[name]['version']}"])
        packages[name]["files"] = {"source": file}


def _pip(arguments: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return the file that pip would install for each, without installing one.

    Raises:
        Missing: there is none of one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        report = Path(folder, "report")
        options = ["--dry-run", "--ignore-installed", "--no-deps", "--report", str(report), "--target", folder]
        done = subprocess.run([*pip, *options, *arguments], capture_output=True, text=True, check=False)
        if missing := re.search(r"No matching distribution found for (\S+)", done.stderr):
            raise Missing(missing[1])
        if done.returncode:
            raise ToolError(done.stderr)
        return [_file(item) for item in json.loads(report.read_text())["install"]]


def _file(item: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the name and the file of one item of pip's report."""
    download = item["download_info"]
    digest = download["archive_info"]["hash"].removeprefix("sha256=")
    hash_ = "sha256-" + base64.b64encode(bytes.fromhex(digest)).decode()
    file = download["url"].split("#")[0].rsplit("/", 1)[1]
    return canonicalize_name(item["metadata"]["name"]), {"file": file, "hash": hash_}


def _folded(files: Found) -> Found:
    """Say once what is the same for every Python, and for every machine."""
    folded = dict(files)
    for system in MACHINES:
        same = [files.get(f"cp{python.replace('.', '')}-{system}") for python in PYTHONS]
        if same[0] is not None and all(each == same[0] for each in same):
            folded = {key: file for key, file in folded.items() if not key.endswith(system)}
            folded[f"any-{system}"] = same[0]
    if len(folded) == len(MACHINES) and len({file["file"] for file in folded.values()}) == 1:
        return {"any": next(iter(folded.values()))}
    return folded


if __name__ == "__main__":
    main(write)
