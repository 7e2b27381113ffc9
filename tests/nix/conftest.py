import re
from pathlib import Path

import pytest

from tests.nix.standin import SYSTEM, Flake, copy_nixpkgs, copy_source


@pytest.fixture(scope="session")
def nixpkgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for nixpkgs, knowing this host's Python."""
    return copy_nixpkgs(tmp_path_factory.mktemp("nix") / "nixpkgs")


@pytest.fixture(scope="session")
def flake(nixpkgs: Path, tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """The flake as it is; nothing changes it."""
    return Flake(copy_source(tmp_path_factory.mktemp("nix") / "rbee"), nixpkgs)


@pytest.fixture(scope="session")
def house(nixpkgs: Path, tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """The flake with an example house of machines like this one, so that each host can be built here."""
    source = copy_source(tmp_path_factory.mktemp("nix") / "house")
    for file in (source / "nix" / "example").glob("*.nix"):
        file.write_text(re.sub(r'(hostPlatform = ")[^"]+', rf"\g<1>{SYSTEM}", file.read_text()))
    return Flake(source, nixpkgs)
