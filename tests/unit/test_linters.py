"""The linters are tests, so that one command is the whole gate."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCRIPTS = (
    "tools/demo",
    "tools/packages",
    ".ci/run",
    *(f"debian/{name}" for name in ("preinst", "postinst", "prerm", "postrm")),
    "tests/nix/nixpkgs/pkgs/builder.sh",
    "tests/nix/nixpkgs/pkgs/wrap.sh",
)
LINTERS = {
    "ruff": [BIN / "ruff", "check", "."],
    "format": [BIN / "ruff", "format", "--check", "."],
    "mypy": [BIN / "mypy"],
    "layers": [BIN / "lint-imports"],
    "shell": ["shellcheck", *SCRIPTS],
}


@pytest.mark.parametrize("argv", LINTERS.values(), ids=LINTERS.keys())
def test_lint(argv: list[str | Path]) -> None:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
