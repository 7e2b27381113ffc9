"""pool-managerd's application over a pool in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from rbee.daemon.access import Access
from rbee.daemon.app import create_app, mount
from rbee.pool_managerd.routes import HANDLERS, announcing
from rbee.wire.operations import POOL
from tests.fakes.pool import FakePool
from tests.support.serving import served


@dataclass
class Beats:
    """Counts how often the queen would have been told at once; who waits until she heard waits for ``heard``."""

    count: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.heard.set()

    def changed(self) -> None:
        self.count += 1

    async def tell(self) -> None:
        self.changed()
        await self.heard.wait()


@contextlib.asynccontextmanager
async def pool_daemon(
    pool: FakePool, *, tokens: tuple[str, ...] = (), beats: Beats | None = None, name: str = "pool-managerd"
) -> AsyncIterator[str]:
    """Yield the base URL of a daemon that serves ``pool``. Two at once have different names."""
    app = create_app(
        name,
        source=f"pool:{pool.facts.id}",
        access=Access(tokens=tokens, callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=64,
    )
    app.ctx.pool = pool.service
    app.ctx.heartbeat = beats or Beats()
    app.ctx.declared, app.ctx.synced = lambda _: pool.service, lambda: None
    mount(app, POOL, {name: announcing(handler) for name, handler in HANDLERS.items()})
    async with served(app) as url:
        yield url
