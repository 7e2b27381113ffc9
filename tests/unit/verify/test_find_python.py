"""Which Python the survey of a host is given to: rbee's own, however its commands were installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rbee.verify.facts import FIND_PYTHON


def _found(folder: Path) -> str:
    script = f'{FIND_PYTHON} printf %s "$python"'
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", script], env={"PATH": path}, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "files",
    [
        {"rbee-hive": f"#!{sys.executable}\n"},
        {"rbee-hive": "#!/bin/sh\nexec false\n", ".rbee-hive-wrapped": f"#! {sys.executable}\n"},
        {"rbee-hive": "\x7fELF\0", ".rbee-hive-wrapped": f"#!{sys.executable} -s\n"},
    ],
    ids=["by its first line", "by what a wrapper starts", "by what a compiled wrapper starts"],
)
def test_rbees_own_python_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    assert _found(tmp_path) == sys.executable


def test_the_python_beside_a_wrapper_is_found(tmp_path: Path) -> None:
    (tmp_path / "rbee-hive").write_text("#!/bin/sh\nexec false\n")
    (tmp_path / "rbee-hive").chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    assert _found(tmp_path) == str(tmp_path / "python")


def test_where_there_is_none_the_hosts_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / "rbee-hive").write_text("#!/bin/sh\nexec false\n")
    (tmp_path / "rbee-hive").chmod(0o755)
    assert _found(tmp_path) == "python3"
