"""A whole queen on a loopback port, with fakes around her."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.config import Queen as Settings
from rbee.daemon.access import Access
from rbee.daemon.app import create_app
from rbee.queen import anthropic_routes, ollama_routes, openai_routes, responses_routes, routes
from rbee.queen.metrics import Metrics
from rbee.queen.queen import Queen
from rbee.queen.store.store import Store
from rbee.wire.catalog import ModelEntry
from rbee.wire.events import JobEvent, Token
from rbee.wire.sse import Frame
from tests.fakes.worker_server import FakePool
from tests.rig.waiting import PATIENCE
from tests.support.serving import served

SOON_S = 10 * PATIENCE
TOKEN = "the-fleet-token-of-the-tests"
ANN = "anns-key-anns-key-anns-key"
CATALOG = (ModelEntry(id="tiny", reference="file:/models/tiny.gguf", aliases=("tiny-0.5m",)),)


@dataclass
class Running:
    """A queen, and a client with the fleet token."""

    queen: Queen
    url: str
    http: HttpClient
    client: QueenClient = field(init=False)
    heard: list[FakePool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = QueenClient(self.http)

    async def hear(self, *pools: FakePool) -> None:
        """Let each pool's heartbeat arrive, and from now on whenever it is asked."""
        for pool in pools:
            self.heard.append(pool)
            pool.speak = partial(self.say, pool)
            await pool.speak()

    async def say(self, pool: FakePool) -> None:
        await self.client.heartbeat(pool.id, pool.snapshot())

    async def ended(self, job: str) -> list[tuple[int, JobEvent]]:
        return [numbered async for numbered in self.client.job_events(job)]

    async def frames(self, path: str, after: int | None = None) -> list[Frame]:
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        return [frame async for frame in self.http.stream("GET", path, headers=headers)]

    async def until(self, job: str, state: str) -> None:
        async def there() -> bool:
            return (await self.client.get_job(job)).state == state

        await eventually(there)


def text_of(events: list[tuple[int, JobEvent]]) -> str:
    return "".join(event.t for _, event in events if isinstance(event, Token))


def words(count: int) -> str:
    return "".join(f"w{n} " for n in range(count))


async def soon(condition: Callable[[], Any]) -> None:
    """Wait until ``condition`` holds; fail after ``SOON_S``. What is watched lives in other tasks and tells nobody."""
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """As ``soon``, where one has to ask somebody else."""
    async with asyncio.timeout(SOON_S):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(path: Path, **settings: Any) -> AsyncIterator[Running]:
    """A queen with the database ``path``, stopped gracefully at the end. Pools speak once here: she loses none."""
    asked = Settings(**{"pools": (), "heartbeat_s": 2.0, "lost_after": 100, **settings})
    metrics = Metrics.make()
    store = Store(path, observe_s=metrics.write_s.observe)
    app = create_app(
        f"queen-{uuid4().hex[:8]}",
        source="queen",
        access=Access(tokens=(TOKEN,), callers=asked.callers),
        metrics=metrics.registry,
        body_limit_bytes=asked.body_limit_bytes,
        connections=asked.connections,
    )
    routes.add_routes(app)
    openai_routes.add_routes(app)
    responses_routes.add_routes(app)
    anthropic_routes.add_routes(app)
    ollama_routes.add_routes(app)
    queen = Queen(store, asked, token=TOKEN, catalog=CATALOG, metrics=metrics)
    app.ctx.queen = queen
    app.before_server_start(lambda _: queen.start())
    app.before_server_stop(lambda _: queen.stop())
    try:
        async with served(app) as url, HttpClient(url, token=TOKEN, source="queen") as http:
            made = Running(queen, url, http)
            yield made
            for pool in made.heard:
                pool.speak = None
    finally:
        store.close()


@pytest.fixture
async def queen(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "queen.sqlite") as made:
        yield made
