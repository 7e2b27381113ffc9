"""The unit files as systemd reads them; no running systemd is needed for that."""

import os
import re
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "units"
FILES = sorted((*UNITS.glob("system/*"), *UNITS.glob("user/*")))
PROGRAMS = {"@install@": "/usr/bin/install", "@kill@": "/bin/kill"}
MOST_EXPOSED = {"rbee-queen": 20, "rbee-pool": 20, "rbee-token": 20, "rbee-broker": 30}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with their placeholder filled in, and the programs they name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for file in FILES:
        text = file.read_text()
        for placeholder, value in {**PROGRAMS, "@bindir@": str(programs)}.items():
            text = text.replace(placeholder, value)
        target = tmp_path / file.parent.name / file.name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        for name in re.findall(rf"{programs}/([\w-]+)", text):
            (programs / name).write_text("#!/bin/sh\n")
            (programs / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("manager", ["system", "user"])
def test_systemd_has_nothing_to_complain_of(installed: Path, manager: str) -> None:
    files = sorted((installed / manager).iterdir())
    argv = ["systemd-analyze", f"--{manager}", "verify", "--man=no", *files]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(installed)}  # --user wants one, here as elsewhere
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(("service", "tenths"), MOST_EXPOSED.items(), ids=MOST_EXPOSED.keys())
def test_exposure_stays_low(installed: Path, service: str, tenths: int) -> None:
    file = installed / "system" / f"{service}.service"
    argv = ["systemd-analyze", "security", "--offline=true", f"--threshold={tenths}", "--no-pager", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_only_programs_are_left_to_fill_in(file: Path) -> None:
    text = file.read_text()
    assert set(re.findall(r"@\w+@", text)) <= {"@bindir@", "@install@", "@kill@"}
    assert not re.search(r"^Exec\w+=[-:+!|]*[^-:+!|@\n]", text, re.MULTILINE), "not every distribution has it there"


@pytest.mark.parametrize("service", ["system/rbee-pool.service", "user/rbee-pool.service"])
def test_nothing_ties_workers_to_the_pool(service: str) -> None:
    text = (UNITS / service).read_text()
    assert not re.search(r"^(PartOf|BindsTo|Upholds|PropagatesStopTo|StopPropagatedFrom)=", text, re.MULTILINE)
    assert "rbee-workers.slice" not in text


@pytest.mark.parametrize("manager", ["system", "user"])
def test_a_restart_of_a_service_leaves_its_socket(manager: str) -> None:
    for socket in (UNITS / manager).glob("*.socket"):
        assert not re.search(r"^(PartOf|BindsTo|Requires)=", socket.read_text(), re.MULTILINE)


def test_the_pool_and_the_broker_name_the_worker_program() -> None:
    for service in ("system/rbee-pool", "system/rbee-broker", "user/rbee-pool"):
        assert "Environment=RBEE_WORKER_EXEC=@bindir@/llm-worker-rbee" in (UNITS / f"{service}.service").read_text()


def test_the_broker_has_no_capability_and_only_its_user_may_ask() -> None:
    assert "\nCapabilityBoundingSet=\n" in (UNITS / "system/rbee-broker.service").read_text()
    socket = (UNITS / "system/rbee-broker.socket").read_text()
    assert "SocketUser=rbee\nSocketMode=0600\n" in socket


def test_a_token_is_made_only_where_nobody_has_put_one_nor_a_link_to_one_to_come(tmp_path: Path) -> None:
    conditions = re.findall(r"^(Condition\w+=.*)", (UNITS / "system/rbee-token.service").read_text(), re.MULTILINE)
    token = tmp_path / "token"
    assert _met(conditions, token)
    token.symlink_to(tmp_path / "not-there-yet")
    assert not _met(conditions, token)
    token.unlink()
    token.write_text("somebody's")
    assert not _met(conditions, token)


def _met(conditions: list[str], token: Path) -> bool:
    """Say what systemd says of these conditions where the token is there."""
    argv = ["systemd-analyze", "condition", *(each.replace("/etc/rbee/token", str(token)) for each in conditions)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
