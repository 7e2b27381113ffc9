"""Evaluate the flake over the real lib of nixpkgs, and compare: python -m tests.nix.real_lib FOLDER

FOLDER holds nixpkgs' ``lib``, as a checkout of nixpkgs has it, or of github:nix-community/nixpkgs.lib. Types,
priorities, messages and the reading of modules are then nixpkgs' own; packages and the options of NixOS are the
stand-in's still.
Its lib needs a Nix newer than 2.8: put that first on PATH.

Prints what differs, and ends with 1 where something does.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.nix.standin import ROOT, Flake, copy_nixpkgs, copy_source, nix

HOSTS = tuple(path.stem for path in (ROOT / "nix" / "example").glob("*.nix"))
TEXTS = "units: builtins.mapAttrs (_: unit: unit.text) units"


def main(lib: Path) -> int:
    """Return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        source, ours = copy_source(Path(folder, "rbee")), copy_nixpkgs(Path(folder, "nixpkgs"))
        theirs = Path(shutil.copytree(ours, Path(folder, "nixpkgs-real")))
        shutil.rmtree(theirs / "lib")
        shutil.copytree(lib, theirs / "lib")
        print(nix("nix", "--version").strip())
        Flake(source, theirs).check()
        print("every output evaluates over the real lib")
        differences = list(_differences(Flake(source, ours), Flake(source, theirs)))
    print("\n".join(differences) or f"the units and rbee.toml of {', '.join(HOSTS)} are the same, byte by byte")
    return 1 if differences else 0


def _differences(ours: Flake, theirs: Flake) -> Iterator[str]:
    for host in HOSTS:
        config = f"nixosConfigurations.{host}.config"
        for attribute, apply in ((f"{config}.systemd.units", TEXTS), (f"{config}.services.rbee.settings", "x: x")):
            mine, real = ours.eval(attribute, apply), theirs.eval(attribute, apply)
            for name in sorted(mine.keys() | real.keys()):
                if mine.get(name) != real.get(name):
                    yield f"{host}: {attribute}: {name}\n--- ours\n{mine.get(name)}\n--- real\n{real.get(name)}"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1], "modules.nix").is_file():
        sys.exit("expected the folder of nixpkgs' lib, which has modules.nix in it")
    sys.exit(main(Path(sys.argv[1])))
