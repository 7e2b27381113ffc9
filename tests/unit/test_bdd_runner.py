import subprocess
import sys
from pathlib import Path

RUN = [sys.executable, "-c", "from rbee.bdd_runner import main; main()"]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *argv], capture_output=True, text=True, check=False)


def test_no_features_is_said_and_is_66(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert done.returncode == 66
    assert f"{tmp_path} holds no *.feature file" in done.stderr


def test_help_and_bad_usage() -> None:
    assert "Usage:" in run("--help").stdout
    done = run("--frobnicate")
    assert done.returncode == 64
    assert "Usage:" in done.stderr
