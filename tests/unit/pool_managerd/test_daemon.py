"""What lives as long as the process: the beat, STATUS, the watchdog's question, and SIGHUP."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from sanic import Request, Sanic
from sanic.response import HTTPResponse

from rbee import config, host
from rbee.adapters.notify import bind_socket
from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.config import Settings
from rbee.daemon.access import Access
from rbee.daemon.app import body, create_app, empty
from rbee.errors import ConfigInvalid
from rbee.pool_core.condition import Condition
from rbee.pool_core.declared import Declaration
from rbee.pool_core.service import PoolService
from rbee.pool_managerd import syncing
from rbee.pool_managerd.daemon import Daemon
from rbee.wire.pools import Gpu, PoolSnapshot
from rbee.wire.sync import SyncSpec, SyncState
from rbee.wire.workers import Backend, WorkerShape, WorkerSpec
from tests.fakes.pool import PLAN, FakePool, facts_of
from tests.rig.waiting import PATIENCE
from tests.support.serving import served

TOKEN = "the-fleet-token-of-the-tests"


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    """The host that the daemon puts together."""
    fake = FakePool()

    def open_pool(settings: Settings, environ: Mapping[str, str], *, url: str, condition: Condition) -> PoolService:
        fake.condition = condition
        return fake.service

    monkeypatch.setattr(host, "open_pool", open_pool)
    return fake


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """rbee.toml; nobody's token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = tmp_path / "rbee.toml"
    found.touch()
    return found


@contextlib.contextmanager
def made(file: Path, *tokens: str, bind: str = "127.0.0.1:0") -> Iterator[Daemon]:
    sock = bind_socket(bind)
    daemon = Daemon(config.load(str(file), {}), str(file), tokens, sock)
    try:
        yield daemon
    finally:
        sock.close()
        Sanic._app_registry.pop(daemon.app.name, None)


class Queen:
    """A FAKE queen that takes heartbeats."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[str, PoolSnapshot]] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = create_app("beaten-queen", source="queen", access=Access(callers={}), metrics=CollectorRegistry(),
                         body_limit_bytes=1 << 20, connections=9)  # fmt: skip
        app.add_route(self._heartbeat, "/v2/pools/<pool>/heartbeat", methods=["POST"])
        async with served(app) as url:
            yield url

    async def _heartbeat(self, request: Request, pool: str) -> HTTPResponse:
        await self.came.put((request.headers.get("authorization", ""), body(request, PoolSnapshot)))
        return empty()

    async def next(self) -> tuple[str, PoolSnapshot]:
        return await asyncio.wait_for(self.came.get(), 10 * PATIENCE)


async def spawn(pool: FakePool) -> None:
    async for _ in pool.service.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny")):
        pass


async def test_the_queen_gets_the_whole_snapshot_with_secrets_and_our_token(pool: FakePool, file: Path) -> None:
    await spawn(pool)
    queen = Queen()
    async with queen.serve() as url:
        file.write_text(f'[pool]\nqueen = "{url}"\n')
        with made(file, TOKEN) as daemon:
            await daemon.start()
            authorization, snapshot = await queen.next()
            daemon.heartbeat.changed()
            await queen.next()
            assert authorization == f"Bearer {TOKEN}"
            assert snapshot.worker_secrets == {"worker-cpu-0": "secret of worker-cpu-0"}
            assert (daemon.status(), daemon.vital()) == ("1 worker (1 ready), queen ok", None)
            await daemon.stop()


async def test_status_names_the_gpu_that_nothing_can_run_on(pool: FakePool, file: Path) -> None:
    pool.gpus.gpus = (Gpu(index=1, name="RTX 3070", problem="it has fallen off the bus"),)
    queen = Queen()
    async with queen.serve() as url:
        file.write_text(f'[pool]\nqueen = "{url}"\n')
        with made(file) as daemon:
            await daemon.start()
            await daemon.heartbeat.tell()
            assert daemon.status() == "0 workers, queen ok, gpu 1 (RTX 3070): it has fallen off the bus"
            await daemon.stop()


async def test_status_says_that_nobody_was_asked_yet_and_later_that_the_queen_is_away(
    pool: FakePool, file: Path
) -> None:
    pool.flag.draining = True
    file.write_text('[pool]\nqueen = "http://127.0.0.1:1"\n')
    with made(file) as daemon:
        assert daemon.status() == "queen not asked yet"
        await daemon.start()
        async with asyncio.timeout(10 * PATIENCE):
            while daemon.heartbeat.trouble == "queen not asked yet":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        away = "queen at http://127.0.0.1:1 cannot be reached: nothing listens there"
        assert daemon.status() == f"0 workers, {away}, draining: its operator said so"
        await daemon.stop()


async def test_a_beat_that_has_ended_is_not_vital(pool: FakePool, file: Path) -> None:
    with made(file) as daemon:
        await daemon.start()
        await daemon.stop()
        assert daemon.vital() == "the heartbeat has ended"


async def test_a_sync_that_has_ended_is_not_vital_and_status_says_so(pool: FakePool, file: Path) -> None:
    with made(file) as daemon:
        await daemon.start()
        assert daemon.vital() is None
        sync = next(task for task in asyncio.all_tasks() if task.get_name() == "sync")
        sync.cancel()
        await asyncio.wait({sync})
        assert daemon.vital() == "the sync has ended"
        assert "the sync has ended" in daemon.status()
        await daemon.stop()


async def test_reload_takes_the_new_queen_interval_and_token(pool: FakePool, file: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\nthe-token-of-before-that\n")
    token.chmod(0o600)
    queen = Queen()
    async with queen.serve() as url:
        file.write_text('[pool]\nqueen = "http://127.0.0.1:1"\n')
        with made(file) as daemon:
            await daemon.start()
            file.write_text(f'[pool]\nqueen = "{url}"\nheartbeat_s = 7.0\ntoken_file = "{token}"\n')
            daemon.reload()
            assert (await queen.next())[0] == f"Bearer {TOKEN}"
            assert daemon.heartbeat.interval_s == 7.0
            access: Access = daemon.app.ctx.access
            assert access.tokens == (TOKEN, "the-token-of-before-that")
            await daemon.stop()


@pytest.mark.parametrize("wrong", ["[pool]\nheartbeat_s = 0\n", "[pool]\nqueens = 2\n", "[pool\n"])
async def test_a_reload_that_is_wrong_changes_nothing(pool: FakePool, file: Path, wrong: str) -> None:
    with made(file, TOKEN) as daemon:
        before = (daemon.app.ctx.pool, daemon.app.ctx.access, daemon.heartbeat.interval_s)
        file.write_text(wrong)
        with pytest.raises(ConfigInvalid):
            daemon.reload()
        assert (daemon.app.ctx.pool, daemon.app.ctx.access, daemon.heartbeat.interval_s) == before
        await daemon.stop()


async def test_a_reload_cannot_take_the_token_off_a_daemon_that_the_network_reaches(pool: FakePool, file: Path) -> None:
    with made(file, TOKEN, bind="0.0.0.0:0") as daemon:
        with pytest.raises(ConfigInvalid, match="no token is configured"):
            daemon.reload()
        access: Access = daemon.app.ctx.access
        assert access.tokens == (TOKEN,)
        await daemon.stop()


async def test_the_application_has_health_metrics_and_a_document(pool: FakePool, file: Path) -> None:
    with made(file) as daemon:
        async with served(daemon.app) as url, aiohttp.ClientSession() as session:
            async with session.get(f"{url}/health") as response:
                assert (await response.json())["name"].startswith("pool:")
            async with session.get(f"{url}/openapi.json") as response:
                assert "/v2/workers/{worker}/drain" in (await response.json())["paths"]
            async with session.get(f"{url}/v2/gpus") as response:
                assert (await response.json())["reason"] == "NVML is not installed"
        await daemon.stop()


SYNCED = Declaration(workers={"chat": WorkerShape(backend=Backend.CPU, model="tiny")})


async def seen(daemon: Daemon, what: str) -> None:
    """Wait until STATUS says that, or no more where it begins with a dash."""
    async with asyncio.timeout(10 * PATIENCE):
        while (what.removeprefix("-") in daemon.status()) is what.startswith("-"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def workers_of(pool: FakePool, *expected: str) -> None:
    async with asyncio.timeout(10 * PATIENCE):
        while tuple(pool.units.workers) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_is_declared_is_made_at_the_start_and_on_a_reload(pool: FakePool, file: Path) -> None:
    pool.declaration = SYNCED
    with made(file) as daemon:
        await daemon.start()
        await workers_of(pool, "chat")
        pool.declaration = Declaration()
        daemon.reload()
        await workers_of(pool)
        await daemon.stop()


async def test_what_cannot_be_is_in_status_and_tried_again(
    pool: FakePool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "AGAIN_S", 0.01)
    pool.declaration = SYNCED
    pool.host.available_bytes = 0
    with made(file) as daemon:
        await daemon.start()
        await seen(daemon, "1 declaration not met: chat: the worker needs")
        pool.host.available_bytes = 8 << 30
        await workers_of(pool, "chat")
        await seen(daemon, "-not met")
        await daemon.stop()


async def test_a_gpu_whose_driver_comes_later_is_waited_for(
    pool: FakePool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "AGAIN_S", 0.01)
    shapes = {"gpu": WorkerShape(backend=Backend.CUDA, model="tiny")}
    pool.declaration = Declaration(workers=shapes)
    with made(file) as daemon:
        await daemon.start()
        await seen(daemon, "not met: gpu: backend cuda is not available")
        pool.declaration = Declaration(workers={"chat": WorkerShape(backend=Backend.CPU, model="tiny")})
        daemon._pool = pool.service  # as if the same could be done now
        await workers_of(pool, "chat")
        await daemon.stop()


async def test_what_a_drain_put_off_is_done_when_it_ends(pool: FakePool, file: Path) -> None:
    pool.declaration = SYNCED
    pool.flag.draining = True
    with made(file) as daemon:
        daemon.heartbeat.interval_s = 0.05
        await daemon.start()
        await seen(daemon, "not met: chat: pool blep is draining")
        pool.flag.draining = False
        daemon.heartbeat.changed()
        await workers_of(pool, "chat")
        await daemon.stop()


async def test_what_a_worker_still_had_to_answer_is_waited_for(pool: FakePool, file: Path) -> None:
    pool.units.workers["old"] = facts_of(dataclasses.replace(PLAN, id="old", declared=True))
    pool.units.busy = {"old"}
    pool.declaration = SYNCED
    with made(file) as daemon:
        await daemon.start()
        await seen(daemon, "not met: old: worker old still has work")
        del pool.units.workers["old"]
        pool.units.busy = set()
        pool.units.changed.set()
        await workers_of(pool, "chat")
        await daemon.stop()


async def test_a_sync_by_command_takes_the_file_as_it_is_now(pool: FakePool, file: Path) -> None:
    with made(file, TOKEN) as daemon:
        await daemon.start()
        async with served(daemon.app) as url, HttpClient(url, token=TOKEN, source="pool") as http:
            pool.declaration = SYNCED
            dry = [event async for event in PoolClient(http).sync(SyncSpec(dry_run=True))][-1].outcome
            assert dry is not None
            assert [(step.id, step.state) for step in dry.steps] == [("chat", SyncState.PLANNED)]
            assert pool.units.workers == {}
            done = [event async for event in PoolClient(http).sync(SyncSpec())][-1].outcome
            assert done is not None
            assert [(step.id, step.state) for step in done.steps] == [("chat", SyncState.DONE)]
            file.write_text("[workers.x]\n")
            with pytest.raises(ConfigInvalid, match=r"workers\.x\.backend: is missing"):
                _ = [event async for event in PoolClient(http).sync(SyncSpec())]
            assert set(pool.units.workers) == {"chat"}
        await daemon.stop()
