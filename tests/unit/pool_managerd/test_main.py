"""pool-managerd as a process: its settings, its socket, its exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "from rbee.pool_managerd.main import main; main()"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rbee.toml"
    found.touch()
    return found


def daemon(file: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(file.parent), "STATE_DIRECTORY": str(file.parent)}
    return subprocess.run(
        [sys.executable, "-c", CODE, f"--config={file}", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ,
    )


def test_right_settings_are_called_so(file: Path) -> None:
    done = daemon(file, "--check-config")
    assert (done.returncode, done.stdout) == (0, f"{file}: right\n")


def test_wrong_settings_name_the_key_and_are_78(file: Path) -> None:
    file.write_text("[pool]\nheartbeat_s = 0\n")
    done = daemon(file, "--check-config")
    assert done.returncode == 78
    assert "pool.heartbeat_s" in done.stderr


def test_the_network_is_not_served_without_a_token(file: Path) -> None:
    done = daemon(file, "--bind=0.0.0.0:0")
    assert done.returncode == 78
    assert "reachable from the network, but no token is configured" in done.stderr
    assert "rbee-keeper token new" in done.stderr


def test_a_token_that_others_can_read_is_refused(file: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 64)
    token.chmod(0o644)
    file.write_text(f'[pool]\ntoken_file = "{token}"\n')
    done = daemon(file)
    assert done.returncode == 78
    assert "chmod 600" in done.stderr


def test_without_a_worker_program_it_does_not_start(file: Path) -> None:
    file.write_text('[worker]\nexec = "/nowhere/llm-worker-rbee"\n')
    done = daemon(file, "--bind=127.0.0.1:0")
    assert done.returncode == 78
    assert "worker.exec" in done.stderr


def test_bad_usage_is_64(file: Path) -> None:
    assert daemon(file, "--frobnicate").returncode == 64
