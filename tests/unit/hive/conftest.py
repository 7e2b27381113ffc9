"""rbee-hive against a pool in memory that a daemon serves, and against one that is put together here."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rbee.hive import main as hive
from tests.fakes.pool import FakePool
from tests.support.commands import Ran, ran
from tests.support.pool_daemon import pool_daemon


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file or token of whoever runs the tests."""
    empty = tmp_path / "rbee.toml"
    empty.touch()
    monkeypatch.setenv("RBEE_CONFIG", str(empty))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
async def daemon(pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The pool behind its daemon, where [hive] pool points."""
    async with pool_daemon(pool) as url:
        monkeypatch.setenv("RBEE_HIVE_POOL", url)
        yield url


@pytest.fixture
def nothing_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A port that is ours, and on which nobody answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        monkeypatch.setenv("RBEE_HIVE_POOL", url)
        yield url


async def run(*argv: str, terminal: bool = False) -> Ran:
    return await ran(hive, *argv, terminal=terminal)
