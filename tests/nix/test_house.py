"""The example house and the machines of the VM tests, evaluated whole, and their units as systemd reads them."""

from pathlib import Path
from typing import Any

import pytest

from tests.nix import units
from tests.nix.scripts import lint
from tests.nix.standin import ROOT, SYSTEM, Flake

HOUSE = ("blep", "mac", "workstation")
MACHINES = sorted(path.stem for path in (ROOT / "nix" / "tests").glob("*.nix"))
MOST_EXPOSED = {"rbee-queen": 20, "rbee-pool": 20, "rbee-token": 20, "rbee-broker": 30}


@pytest.fixture(scope="module", params=HOUSE)
def toplevel(request: pytest.FixtureRequest, house: Flake) -> Any:
    return house.toplevel(request.param)


def test_the_units_of_a_host_are_right_with_their_drop_ins(toplevel: Any, tmp_path: Path) -> None:
    folder = units.lay_out(toplevel, tmp_path / "units")
    assert list(folder.glob("rbee-*.d")), "the module has nothing to say of any unit"
    assert units.verify(folder) == ""
    for service, tenths in MOST_EXPOSED.items():
        if not (folder / f"{service}.service").is_symlink():
            assert units.exposure(folder, f"{service}.service", tenths) == ""


def test_what_its_configuration_names_is_started_at_boot(toplevel: Any, tmp_path: Path) -> None:
    """NixOS does not look at a packaged unit's [Install]."""
    folder = units.lay_out(toplevel, tmp_path / "units")
    wanted = {path.name for path in folder.glob("*.wants/*")}
    assert {"rbee-broker.socket", "rbee-pool.socket", "rbee-pool.service"} <= wanted
    assert ("rbee-queen.socket" in wanted) == (not (folder / "rbee-queen.socket").is_symlink())


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_test_evaluates_and_its_script_names_what_there_is(flake: Flake, name: str) -> None:
    (script,) = flake.build(f"checks.{SYSTEM}.{name}")
    nodes = flake.eval(f"checks.{SYSTEM}.{name}.nodes", "builtins.attrNames")
    assert lint(script.read_text(), nodes) == ""
