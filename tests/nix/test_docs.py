"""docs/nixos.md: its Nix is evaluated, and its commands are ones that there are."""

import json
import re
import shlex
from pathlib import Path

import docopt
import pytest

from rbee.hive.main import USAGE as HIVE
from rbee.keeper.main import USAGE as KEEPER
from tests.nix.standin import ROOT, Flake, nix

PAGE = (ROOT / "docs" / "nixos.md").read_text()
BLOCKS = re.findall(r"^```nix\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```nix\n.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    (\S.*)$", PROSE, re.MULTILINE)
USAGES = {"rbee": KEEPER, "rbee-keeper": KEEPER, "rbee-hive": HIVE}
OTHERS = {
    # What pool deploy runs, with more options: tests/fleet/test_deploy.py.
    "nixos-rebuild switch --flake",
    "nixos-rebuild switch --rollback",
    # As of the example house: tests/nix/test_flake.py.
    "nix flake check",
    # As of the VM test of a single host, and of the tests of the OpenAI routes.
    "curl -s http://127.0.0.1:8080/v1/models",
}
HOST = """
{
  inputs.nixpkgs.url = "path:/nowhere";
  inputs.rbee.url = "path:/nowhere";
  outputs = { nixpkgs, rbee, ... }: {
    nixosConfigurations = builtins.mapAttrs (_: file: nixpkgs.lib.nixosSystem {
      modules = [ rbee.nixosModules.default { nixpkgs.hostPlatform = nixpkgs.lib.mkDefault "x86_64-linux"; } file ];
    }) { %s };
  };
}
"""


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flake in which each block that is a module is a host."""
    folder = tmp_path_factory.mktemp("docs")
    names = []
    for number, block in enumerate(BLOCKS[1:], 1):
        (folder / f"block{number}.nix").write_text(block)
        names.append(f"block{number} = ./block{number}.nix;")
    (folder / "flake.nix").write_text(HOST % " ".join(names))
    return folder


def evaluated(folder: Path, host: str, flake: Flake, nixpkgs: Path, what: str) -> object:
    inputs = ["--override-input", "nixpkgs", f"path:{nixpkgs}", "--override-input", "rbee", f"path:{flake.source}"]
    inputs += ["--override-input", "rbee/nixpkgs", f"path:{nixpkgs}", "--no-write-lock-file"]
    said = nix("nix", "eval", "--json", *inputs, f"path:{folder}#nixosConfigurations.{host}.config", "--apply", what)
    return json.loads(said)


def test_the_flake_of_the_first_page_makes_a_host(tmp_path: Path, flake: Flake, nixpkgs: Path) -> None:
    (tmp_path / "flake.nix").write_text(BLOCKS[0])
    (tmp_path / "blep.nix").write_text(BLOCKS[1])
    units = evaluated(tmp_path, "blep", flake, nixpkgs, "c: builtins.attrNames c.systemd.units")
    assert {"rbee-queen.service", "rbee-pool.socket"} <= set(units)  # type: ignore[call-overload]


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_each_block_is_a_configuration_that_nothing_is_wrong_with(
    number: int, blocks: Path, flake: Flake, nixpkgs: Path
) -> None:
    wrong = "c: map (a: a.message) (builtins.filter (a: !a.assertion) c.assertions) ++ c.warnings"
    assert evaluated(blocks, f"block{number}", flake, nixpkgs, wrong) == []
    evaluated(blocks, f"block{number}", flake, nixpkgs, "c: builtins.mapAttrs (_: u: u.text) c.systemd.units")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one_that_there_is(command: str) -> None:
    program, *words = shlex.split(command)
    if program in USAGES:
        docopt.docopt(USAGES[program], words, default_help=False)
    else:
        assert any(command.startswith(known) for known in OTHERS), command


def test_a_sum_of_the_hub_becomes_a_hash_of_nix() -> None:
    """By the older of the two commands; the Nix of the tests has no other."""
    assert "`nix hash to-sri --type sha256 HEX`" in PAGE.replace("to-sri\n", "to-sri ")
    assert nix("nix", "hash", "to-sri", "--type", "sha256", "0" * 64).strip() == f"sha256-{'A' * 43}="


def test_there_are_blocks_and_commands() -> None:
    assert len(BLOCKS) > 5
    assert len(COMMANDS) > 10
