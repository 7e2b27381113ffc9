"""One pool, reached in every way there is: whoever asks must not be able to tell which."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.pool_core.ops import PoolOps
from tests.fakes.pool import FakePool
from tests.support.pool_daemon import pool_daemon

TOKEN = "the-fleet-token-of-the-tests"
WAYS = ("direct", "http")


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@contextlib.asynccontextmanager
async def reached(way: str, pool: FakePool) -> AsyncIterator[PoolOps]:
    """Give ``pool`` as the command lines reach it."""
    if way == "direct":
        yield pool.service
        return
    async with pool_daemon(pool, tokens=(TOKEN,)) as url, HttpClient(url, token=TOKEN, source="pool") as http:
        yield PoolClient(http)


@pytest.fixture(params=WAYS)
async def ops(request: pytest.FixtureRequest, pool: FakePool) -> AsyncIterator[PoolOps]:
    async with reached(request.param, pool) as found:
        yield found
