from pathlib import Path

import pytest

from tests.nix.standin import Flake, copy_nixpkgs, copy_source


@pytest.fixture(scope="session")
def nixpkgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for nixpkgs, knowing this host's Python."""
    return copy_nixpkgs(tmp_path_factory.mktemp("nix") / "nixpkgs")


@pytest.fixture(scope="session")
def flake(nixpkgs: Path, tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """The flake as it is; nothing changes it."""
    return Flake(copy_source(tmp_path_factory.mktemp("nix") / "rbee"), nixpkgs)
