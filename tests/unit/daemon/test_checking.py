"""--check-config of both daemons: what is looked at, what is said, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DAEMONS = {"queen-rbee": "rbee.queen.main", "pool-managerd": "rbee.pool_managerd.main"}
pytestmark = pytest.mark.parametrize("program", DAEMONS)


def check(program: str, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it as a builder of Nix would: no home, no variables, but ``environ``."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/homeless-shelter", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", f"from {DAEMONS[program]} import main; main()", "--check-config", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**bare, **environ},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rbee.toml"


def test_a_file_is_right_whatever_is_elsewhere(program: str, file: Path) -> None:
    missing = 'token_file = "/nowhere/token"\n'
    file.write_text(
        f'[queen]\n{missing}policy = "/nowhere/policy.star"\ndatabase_password_file = "/nowhere/password"\n'
        f'tls_cert = "/nowhere/crt"\n[pool]\n{missing}models_dir = "/nowhere/models"\n'
    )
    done = check(program, str(file), RBEE_POOL_HEARTBEAT_S="never", RBEE_QUEEN_BIND="no", RBEE_CONFIG="/nowhere.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}: right\n", "")


def test_every_problem_is_on_a_line_of_its_own(program: str, file: Path) -> None:
    tables = "".join(f"[drones{n}]\n" for n in range(7))
    file.write_text(f"[queen]\nbnd = 1\nqueue_capacity = -5\n[worker]\nslots = 0\n{tables}")
    done = check(program, str(file))
    assert (done.returncode, done.stdout) == (os.EX_CONFIG, "")
    *wrong, hint = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in wrong] == [[program, str(file)]] * 10
    assert {line.split(": ")[2] for line in wrong} == {
        *(f"drones{n}" for n in range(7)),
        "queen.bnd",
        "queen.queue_capacity",
        "worker.slots",
    }
    assert hint == f"{program}: hint: etc/rbee.toml shows every key with its range"


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "No such file or directory"), ("[queen", "is not TOML"), ("queen = 3", "expected a table")],
)
def test_what_is_no_such_file_is_78_in_one_sentence(program: str, file: Path, text: str | None, says: str) -> None:
    if text is not None:
        file.write_text(text)
    done = check(program, str(file))
    assert (done.returncode, done.stdout) == (os.EX_CONFIG, "")
    assert done.stderr.startswith(f"{program}: ")
    assert says in done.stderr


def test_an_empty_name_is_no_file_and_not_the_systems(program: str, file: Path) -> None:
    assert check(program, "", RBEE_CONFIG=str(file)).returncode == os.EX_CONFIG


def test_without_a_file_a_variable_is_named_by_its_name(program: str, file: Path) -> None:
    file.touch()
    done = check(program, f"--config={file}", RBEE_WORKER_SLOTS="9999")
    assert done.returncode == os.EX_CONFIG
    assert f"{program}: RBEE_WORKER_SLOTS: worker.slots: is 9999, expected 1..64\n" in done.stderr


def test_a_file_and_an_option_that_would_add_to_it_are_refused(program: str, file: Path) -> None:
    file.touch()
    done = check(program, str(file), "--bind=127.0.0.1:1")
    assert done.returncode == os.EX_USAGE
    assert f"--bind would add to {file}" in done.stderr
    assert f"hint: {program} --check-config {file}\n" in done.stderr
