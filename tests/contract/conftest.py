"""One pool, reached in every way there is: whoever asks must not be able to tell which.

Over ssh it is a real sshd on loopback and the real rbee-hive, which asks the daemon of the pool in memory.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rbee.adapters.ssh.pool import SshPool
from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.pool_core.ops import PoolOps
from tests.fakes.pool import FakePool
from tests.support.pool_daemon import pool_daemon
from tests.support.sshd import Sshd, sshd

TOKEN = "the-fleet-token-of-the-tests"
WAYS = ("direct", "http", "ssh")


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture(scope="session")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An ssh server whose rbee-hive reads ``rbee.toml`` of its folder."""
    folder = tmp_path_factory.mktemp("sshd") / "far"
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    environ = {"RBEE_CONFIG": str(folder / "rbee.toml"), "RBEE_HIVE_TOKEN_FILE": str(token)}
    with tempfile.TemporaryDirectory(prefix="rbee-") as sockets, sshd(folder, Path(sockets), environ) as server:
        server.install_hive()
        yield server


@contextlib.asynccontextmanager
async def reached(way: str, pool: FakePool, far: Sshd) -> AsyncIterator[PoolOps]:
    """Give ``pool`` as the command lines reach it."""
    if way == "direct":
        yield pool.service
        return
    async with pool_daemon(pool, tokens=(TOKEN,)) as url:
        if way == "ssh":
            (far.folder / "rbee.toml").write_text(f'[hive]\npool = "{url}"\n')
            yield SshPool(far.remote, way="--http")
            return
        async with HttpClient(url, token=TOKEN, source="pool") as http:
            yield PoolClient(http)


@pytest.fixture(params=WAYS)
async def ops(request: pytest.FixtureRequest, pool: FakePool, far: Sshd) -> AsyncIterator[PoolOps]:
    async with reached(request.param, pool, far) as found:
        yield found
