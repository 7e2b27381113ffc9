"""The scripts of VM tests, looked at as Python: the driver gives them a name for each machine and a few more."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

DRIVER = ("start_all", "subtest", "machine", "machines", "retry", "log")


def lint(script: str, machines: Iterable[str]) -> str:
    """Return what is wrong: a name that nobody gives, above all."""
    known = [*DRIVER, *(name.replace("-", "_") for name in machines)]
    ruff = [
        Path(sys.executable).parent / "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--quiet",
        "--output-format=concise",
    ]
    done = subprocess.run(
        [*ruff, "--select=F,E9", "--config", f"builtins = {known}", "--stdin-filename=testScript.py", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
