import subprocess
import tempfile
from pathlib import Path

import pytest

from rbee.adapters.ssh import config


@pytest.fixture
def short() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="rbee-")


def setting(file: Path, home: Path, key: str) -> str:
    """Return what ssh makes of ``file`` for a host called mac."""
    done = subprocess.run(
        ["ssh", "-G", "-F", str(file), "mac"], env={"HOME": str(home)}, capture_output=True, text=True, check=True
    )
    return next((line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith(f"{key} ")), "")


def test_who_has_no_master_gets_one(short: "tempfile.TemporaryDirectory[str]") -> None:
    with short as runtime:
        file = config.ensure({"XDG_RUNTIME_DIR": runtime})
        assert file is not None
        assert setting(file, Path(runtime), "controlmaster") == "auto"
        assert setting(file, Path(runtime), "controlpersist") == str(config.PERSIST_S)
        assert file.parent.stat().st_mode & 0o777 == 0o700


def test_where_no_socket_fits_their_own_configuration_is_left_alone(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    assert config.ensure({"XDG_RUNTIME_DIR": str(deep)}) is None


def test_the_file_is_made_once(short: "tempfile.TemporaryDirectory[str]") -> None:
    with short as runtime:
        first = config.ensure({"XDG_RUNTIME_DIR": runtime})
        assert first is not None
        made = first.stat().st_ino
        assert config.ensure({"XDG_RUNTIME_DIR": runtime}) == first
        assert first.stat().st_ino == made
