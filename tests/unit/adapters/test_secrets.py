import os
import time
from pathlib import Path

import pytest

from rbee.adapters.secrets import STALE_S, Secrets
from rbee.errors import NotFound


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(str(tmp_path / "workers"), mode=0o640)


def test_a_secret_is_long_random_and_only_for_those_it_is_for(secrets: Secrets) -> None:
    assert secrets.ensure("a")
    assert secrets.ensure("b")
    assert len(secrets.read("a")) == 64
    assert secrets.read("a") != secrets.read("b")
    assert (secrets.folder / "a.secret").stat().st_mode & 0o777 == 0o640
    assert secrets.folder.stat().st_mode & 0o777 == 0o750
    assert {file.name for file in secrets.folder.iterdir()} == {"a.secret", "b.secret"}


def test_a_secret_that_is_there_stays(secrets: Secrets) -> None:
    secrets.ensure("a")
    before = secrets.read("a")
    assert not secrets.ensure("a")
    assert secrets.read("a") == before


def test_a_forgotten_secret_is_not_found(secrets: Secrets) -> None:
    secrets.ensure("a")
    secrets.forget("a")
    secrets.forget("a")
    with pytest.raises(NotFound):
        secrets.read("a")


def test_only_old_secrets_of_nobody_are_swept(secrets: Secrets) -> None:
    for worker in ("alive", "young", "left"):
        secrets.ensure(worker)
    long_ago = time.time() - STALE_S - 1
    for worker in ("alive", "left"):
        os.utime(secrets.folder / f"{worker}.secret", (long_ago, long_ago))
    secrets.sweep(["alive"])
    assert {file.stem for file in secrets.folder.iterdir()} == {"alive", "young"}


def test_a_folder_that_is_not_there_needs_no_sweeping(secrets: Secrets) -> None:
    secrets.sweep([])
    assert not secrets.folder.exists()
