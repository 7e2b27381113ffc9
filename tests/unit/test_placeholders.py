"""What stands for paths in units, and what fills it in."""

from dataclasses import replace
from pathlib import Path

import pytest

from tools import files, layout, package
from tools.run import ToolError

PLACE = layout.private(Path("/opt/somewhere"))


def test_programs_are_found_on_this_machine() -> None:
    texts = files.texts(PLACE)
    pool = texts[Path("/opt/somewhere/units/rbee-pool.service")]
    assert "ExecStart=/opt/somewhere/venv/bin/pool-managerd\n" in pool
    assert "ExecReload=/usr/bin/kill -HUP $MAINPID\n" in pool or "ExecReload=/bin/kill -HUP $MAINPID\n" in pool


def test_a_program_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"no kill in {tmp_path}, and rbee's units call it"):
        files.texts(replace(PLACE, programs=(tmp_path,)))


def test_a_placeholder_that_nobody_knows_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.service").write_text("ExecStart=@nobody@\n")
    with pytest.raises(ToolError, match=r"x\.service has the placeholder @nobody@"):
        files.texts(replace(PLACE, units_from=tmp_path))


def test_a_package_refuses_to_start_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"rbee-pool\.service starts .*/bin/pool-managerd, which is not there"):
        package.fill([str(tmp_path), "/usr/bin"])
    assert list(tmp_path.iterdir()) == []


def test_a_package_has_both_managers_units(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in (*files.COMMANDS, "rbee-broker"):
        (tmp_path / "bin" / name).touch(0o755)
    package.fill([str(tmp_path), "/usr/bin"])
    for manager in ("system", "user"):
        unit = tmp_path / "lib" / "systemd" / manager / "rbee-queen.service"
        assert f"ExecStart={tmp_path}/bin/queen-rbee\n" in unit.read_text()
    assert (tmp_path / "share" / "man" / "man8" / "queen-rbee.8").is_file()
