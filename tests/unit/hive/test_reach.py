"""The daemon when it listens, else this host; or as --http and --direct say."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rbee import host
from rbee.config import Settings
from rbee.pool_core.service import PoolService
from tests.fakes.pool import FakePool
from tests.support.pool_daemon import pool_daemon
from tests.unit.hive.conftest import run

TOKEN = "the-fleet-token-of-the-tests"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    """What a direct command works on."""
    pool = FakePool()
    pool.flag.draining = True  # tells it from the daemon's

    def open_pool(settings: Settings, environ: Mapping[str, str]) -> PoolService:
        return pool.service

    monkeypatch.setattr(host, "open_pool", open_pool)
    return pool


async def draining(*options: str) -> bool:
    return bool((await run("status", "--format=json", *options)).document["draining"])


async def test_the_daemon_is_asked_when_it_listens(here: FakePool, daemon: str) -> None:
    assert not await draining()
    assert not await draining("--http")


async def test_direct_goes_around_the_daemon(here: FakePool, daemon: str) -> None:
    assert await draining("--direct")


async def test_without_a_daemon_it_is_done_here(here: FakePool, nothing_listens: str) -> None:
    assert await draining()


async def test_http_without_a_daemon_is_69(here: FakePool, nothing_listens: str) -> None:
    done = await run("status", "--http")
    assert done.code == 69
    assert f"pool-managerd at {nothing_listens} cannot be reached: nothing listens there" in done.err


async def test_both_at_once_is_bad_usage(nothing_listens: str) -> None:
    done = await run("status", "--http", "--direct")
    assert (done.code, done.err) == (64, "test: --http and --direct exclude each other\n")


async def test_the_token_file_is_presented(pool: FakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    async with pool_daemon(pool, tokens=(TOKEN,)) as url:
        monkeypatch.setenv("RBEE_HIVE_POOL", url)
        refused = await run("status")
        monkeypatch.setenv("RBEE_HIVE_TOKEN_FILE", str(file))
        assert (refused.code, (await run("status")).code) == (77, 0)


async def test_settings_that_are_wrong_are_78(nothing_listens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBEE_HIVE_POOL", "nowhere")
    done = await run("status")
    assert done.code == 78
    assert "hive.pool" in done.err


async def test_a_timeout_that_is_none(daemon: str) -> None:
    assert (await run("status", "--timeout=0")).code == 64
