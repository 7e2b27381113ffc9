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
def toplevel(request: pytest.FixtureRequest, flake: Flake) -> Any:
    return flake.toplevel(request.param)


def test_the_units_of_a_host_are_right_with_their_drop_ins(toplevel: Any, tmp_path: Path) -> None:
    folder = units.lay_out(toplevel, tmp_path / "units")
    assert list(folder.glob("rbee-*.d")), "the module has nothing to say of any unit"
    assert units.verify(folder) == ""
    for service, tenths in MOST_EXPOSED.items():
        if not (folder / f"{service}.service").is_symlink():
            assert units.exposure(folder, f"{service}.service", tenths) == ""


def test_what_is_started_at_boot_is_what_sockets_and_services_say(toplevel: Any, tmp_path: Path) -> None:
    folder = units.lay_out(toplevel, tmp_path / "units")
    wanted = {path.name for path in folder.glob("*.wants/*")}
    assert "rbee-pool.socket" in wanted
    assert "rbee-broker.socket" in wanted


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_test_evaluates_and_its_script_names_what_there_is(flake: Flake, name: str) -> None:
    (script,) = flake.build(f"checks.{SYSTEM}.{name}")
    nodes = flake.eval(f"checks.{SYSTEM}.{name}.nodes", "builtins.attrNames")
    assert lint(script.read_text(), nodes) == ""
