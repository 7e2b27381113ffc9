"""rbee-keeper against a whole queen, with a FAKE pool and a FAKE worker whose text is ``w0 w1 w2 …``."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbee.keeper import main as keeper
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.support.commands import Ran, ran
from tests.unit.queen.conftest import TOKEN, Running, running


@dataclass(frozen=True)
class House:
    queen: Running
    pool: FakePool
    worker: FakeWorker


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file or token of whoever runs the tests, but the fleet token of the tests."""
    empty = tmp_path / "rbee.toml"
    empty.touch()
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    monkeypatch.setenv("RBEE_CONFIG", str(empty))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RBEE_KEEPER_TOKEN_FILE", str(token))


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A queen that knows pool blep and its worker of tiny."""
    async with (
        running(tmp_path / "queen.sqlite") as queen,
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
    ):
        await queen.hear(pool)
        monkeypatch.setenv("RBEE_KEEPER_QUEEN", queen.url)
        yield House(queen, pool, worker)


async def run(*argv: str, terminal: bool = False) -> Ran:
    return await ran(keeper, *argv, terminal=terminal)
