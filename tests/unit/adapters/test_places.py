import dataclasses
from pathlib import Path

import pytest

from rbee.adapters import places
from rbee.adapters.drain_flag import FileDrainFlag
from rbee.config import Pool, Settings, Worker
from rbee.errors import ConfigInvalid
from rbee.pool_core.unit import Mode


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "bin/llm-worker-rbee"
    file.parent.mkdir()
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_the_configured_program_is_taken(program: Path) -> None:
    assert places.worker_program(str(program)) == str(program)


def test_else_the_one_beside_this_program(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(program.parent / "pool-managerd")])
    assert places.worker_program("") == str(program)


def test_else_the_one_on_path(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/nowhere/x"])
    monkeypatch.setenv("PATH", str(program.parent))
    assert places.worker_program("") == str(program)


@pytest.mark.parametrize("wrong", ["llm-worker-rbee", "/nowhere/llm-worker-rbee", "/etc/passwd", "/tmp"])
def test_what_cannot_be_run_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigInvalid, match="absolute path of an executable"):
        places.worker_program(wrong)


def test_no_program_at_all_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/nowhere/x"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigInvalid) as refused:
        places.worker_program("")
    assert refused.value.hint == "set [worker] exec"


@pytest.mark.parametrize(("uid", "mode"), [(0, Mode.SYSTEM), (54_321, Mode.USER)])
def test_root_has_the_systems_manager_and_others_their_own(
    uid: int, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert places.mode(Settings()) is mode
    assert places.mode(Settings(pool=Pool(mode="user"))) is Mode.USER


def test_secrets_lie_where_only_their_owner_looks(program: Path) -> None:
    settings = dataclasses.replace(Settings(), worker=Worker(exec=str(program), watchdog_s=7))
    system = places.place(settings, Mode.SYSTEM, {})
    user = places.place(settings, Mode.USER, {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert (system.secrets, user.secrets) == ("/run/rbee/workers", "/run/user/7/rbee/workers")
    assert system.watchdog_s == 7


def test_draining_outlives_whoever_said_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    FileDrainFlag(state).set(True)
    assert FileDrainFlag(state).is_set()
    FileDrainFlag(state).set(False)
    FileDrainFlag(state).set(False)
    assert not FileDrainFlag(state).is_set()
