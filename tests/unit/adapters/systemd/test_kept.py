"""Where a user's manager leaves conversations, and that they are missed there. FAKE: the bus, by what it answers."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.adapters.systemd import kept
from rbee.errors import RbeeError
from rbee.pool_core.unit import Mode, Place

OURS = {"XDG_CACHE_HOME": "/ours", "HOME": "/home/us"}


class FakeBus:
    pid = 0

    def __init__(self, _: Mode) -> None: ...

    def __enter__(self) -> "FakeBus":
        return self

    def __exit__(self, *_: object) -> None: ...

    def ask(self, *_: object) -> int:
        return self.pid

    def get(self, *_: object) -> list[bytes]:
        return [b"XDG_CACHE_HOME=/of/its/units", b"HOME=/home/us"]


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user's manager that was started with another cache than ours."""
    environ = {"XDG_CACHE_HOME": "relative", "HOME": "/home/its"}
    monkeypatch.setattr(kept, "Bus", FakeBus)
    with subprocess.Popen(["cat"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"\n")
        assert process.stdout.readline() == b"\n"  # whoever answers has an environment, which comes with exec(2)
        monkeypatch.setattr(FakeBus, "pid", process.pid)
        yield


def place(cache: Path) -> Place:
    return Place(
        mode=Mode.USER, program="/x", secrets="/x", watchdog_s=1, load_timeout_s=1, stop_grace_s=1, cache=str(cache)
    )


@pytest.mark.usefixtures("manager")
def test_the_managers_own_environment_decides() -> None:
    assert kept.folder(Mode.USER, OURS) == Path("/home/its/.cache")
    assert kept.folder(Mode.SYSTEM, OURS) == Path("/var/cache")


def test_of_one_that_may_not_be_looked_into_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "Bus", FakeBus)
    assert kept.folder(Mode.USER, OURS) == Path("/of/its/units")


def test_where_there_is_none_our_own_environment_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert kept.folder(Mode.USER, OURS) == Path("/ours")
    assert kept.folder(Mode.USER, {**OURS, "XDG_CACHE_HOME": "relative"}) == Path("/home/us/.cache")


def test_what_is_left_elsewhere_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "its home"))
    folder = tmp_path / "its home/.cache/rbee-worker-cpu-0"
    folder.mkdir(parents=True)
    kept.require_removed("worker-cpu-0", place(tmp_path / "guess"), "success")
    (folder / "slot-0.bin").touch()
    with pytest.raises(RbeeError) as left:
        kept.require_removed("worker-cpu-0", place(tmp_path / "guess"), "success")
    assert left.value.hint == f"rm -r '{folder}'"
    assert os.fspath(folder) == left.value.details["folder"]
