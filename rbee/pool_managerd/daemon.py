"""What lives as long as the process: the pool, the heartbeat that tells the queen of it, and the sync."""

import asyncio
import contextlib
import os
import socket
import ssl
from functools import partial

from prometheus_client import CollectorRegistry

from rbee import config, host, log
from rbee.adapters import places
from rbee.adapters.host import slept_s
from rbee.adapters.systemd.logind import Logind
from rbee.adapters.systemd.own_unit import why_stopped
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.client.reigning import Reigning
from rbee.config import Settings
from rbee.daemon import tls
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app, mount
from rbee.daemon.serve import is_loopback, require_token
from rbee.errors import RbeeError
from rbee.pool_core.condition import Condition, told
from rbee.pool_core.service import PoolService
from rbee.pool_managerd.heartbeat import Heartbeat
from rbee.pool_managerd.leaving import Leaving
from rbee.pool_managerd.metrics import observe
from rbee.pool_managerd.routes import HANDLERS, add_part_routes, announcing
from rbee.pool_managerd.syncing import Syncing
from rbee.wire.draining import why_draining
from rbee.wire.operations import POOL
from rbee.wire.pools import PoolSnapshot
from rbee.wire.sync import SyncSpec
from rbee.wire.words import counted
from rbee.wire.workers import WorkerState

LISTEN_AGAIN_S = 10.0
"""Between two tries to hear what systemd announces."""

QUEEN_S = 10.0
"""A queen that takes longer over a heartbeat is as good as away."""


class Daemon:
    """The application, the pool behind it, the beat, and what keeps the host as it is declared.

    Args:
        settings: as they are now; ``reload`` reads ``file`` again.
        tokens: the first is presented to the queen, all are accepted.
    """

    def __init__(self, settings: Settings, file: str | None, tokens: tuple[str, ...], sock: socket.socket) -> None:
        self.sock = sock
        self.tls = _tls(settings)
        self._file = file
        self._condition = Condition()
        self._mode = places.mode(settings)
        self._pool = self._opened(settings)
        self._connect = partial(_queen, settings, tokens)
        self._queen = self._connect()
        self._replaced: list[Reigning] = []
        self.heartbeat = Heartbeat(self._look, self._send, interval_s=settings.pool.heartbeat_s)
        self._syncing = Syncing(lambda: self._pool, self.heartbeat.changed)
        self._task: asyncio.Task[None] | None = None
        self._sync: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._leaving = Leaving(
            self._condition,
            self.heartbeat,
            Logind(),
            pool=lambda: self._pool,
            reconnect=self._reconnect,
            now_ms=host.now_ms,
            slept_s=slept_s,
        )
        self.app = self._app(settings, tokens)

    async def start(self) -> None:
        """Begin to beat."""
        self._task = asyncio.create_task(self.heartbeat.run(), name="heartbeat")
        self._sync = asyncio.create_task(self._syncing.run(), name="sync")
        self._others = {
            asyncio.create_task(self._listen(), name="listener"),
            asyncio.create_task(self._leaving.run(), name="power"),
            self._sync,
        }

    async def stop(self) -> None:
        """Stop beating; when it is for good, the queen hears of it first. Workers are systemd's, and go on."""
        await self._leaving.stop(await why_stopped(self._mode))
        tasks = self._others | ({self._task} if self._task is not None else set())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for client in (*self._replaced, self._queen):
            await client.close()

    def reload(self) -> None:
        """Take over the file and the tokens as they are now, and sync.

        Raises:
            ConfigInvalid: they are wrong; nothing was changed.
        """
        self._take_over()
        self._syncing.anew()

    def _take_over(self) -> None:
        settings = config.load(self._file, os.environ)
        tokens = config.read_token(settings.pool.token_file, environ=os.environ)
        require_token(self.sock, tokens, "pool")
        tls.reload(self.tls, settings.pool.tls_cert, settings.pool.tls_key, "pool", os.environ)
        self._pool = self.app.ctx.pool = self._opened(settings)
        self.app.ctx.access = self._access(tokens)
        self._connect = partial(_queen, settings, tokens)
        self._reconnect()
        self.heartbeat.interval_s = settings.pool.heartbeat_s
        self.heartbeat.changed()

    def vital(self) -> str | None:
        """Say what stands still: the heartbeat, through a D-Bus or a disk that does not answer, or what has ended."""
        if self._task is not None and self._task.done():
            return "the heartbeat has ended"
        return self._sync_ended() or self.heartbeat.standstill()

    def status(self) -> str:
        """Say how many workers there are, as of the last look, and whether the queen knows us."""
        found = self.heartbeat.last
        parts = [self.heartbeat.trouble or "queen ok"]
        if found is not None:
            parts.insert(0, _workers_line(found))
            parts += [f"draining: {why_draining(found.drain_reason)}"] if found.drain_reason else []
            parts += [line] if (line := self._sync_ended() or self._syncing.line) else []
            parts += [told(gpu) for gpu in found.gpus.gpus if gpu.problem and not gpu.mig]
        return ", ".join(parts)

    def _sync_ended(self) -> str | None:
        return "the sync has ended" if self._sync is not None and self._sync.done() else None

    def _opened(self, settings: Settings) -> PoolService:
        ip, port = self.sock.getsockname()[:2]
        address = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        scheme = "https" if self.tls else "http"
        return host.open_pool(settings, os.environ, url=f"{scheme}://{address}", condition=self._condition)

    def _declared(self, spec: SyncSpec) -> PoolService:
        """Return the pool as the file is now: who asks for a sync has just written it. A dry run leaves us as we are.

        Raises:
            ConfigInvalid: it is wrong.
        """
        if spec.dry_run:
            return self._opened(config.load(self._file, os.environ))
        self._take_over()
        self._syncing.give_way()
        return self._pool

    def _app(self, settings: Settings, tokens: tuple[str, ...]) -> App:
        metrics = CollectorRegistry()
        observe(metrics, lambda: self.heartbeat.last)
        app = create_app(
            "pool-managerd",
            source=f"pool:{config.pool_id(settings)}",
            access=self._access(tokens),
            metrics=metrics,
            body_limit_bytes=settings.pool.body_limit_bytes,
            connections=settings.pool.connections,
        )
        app.ctx.pool = self._pool
        app.ctx.heartbeat = self.heartbeat
        app.ctx.declared, app.ctx.synced = self._declared, self._syncing.again
        add_part_routes(app)
        mount(app, POOL, {name: announcing(handler) for name, handler in HANDLERS.items()})
        return app

    def _access(self, tokens: tuple[str, ...]) -> Access:
        return Access(tokens=tokens, callers={}, loopback=is_loopback(self.sock))

    async def _listen(self) -> None:
        """Tell the queen when a worker wakes or falls asleep: she decides by what memory is free.

        Where systemd cannot be listened to, the usual beats have to do.
        """
        while True:
            try:
                async with contextlib.aclosing(self._pool.changes()) as changes:
                    async for _ in changes:
                        self.heartbeat.changed()
                        self._syncing.worker_changed()
            except RbeeError:
                pass
            except Exception as error:  # noqa: BLE001  (a bug must not leave us deaf for good)
                log.warning("workers.unheard", reason=repr(error))
            await asyncio.sleep(LISTEN_AGAIN_S)

    def _reconnect(self) -> None:
        """Speak to the queen by a new connection; the next beat closes the old one."""
        self._replaced.append(self._queen)
        self._queen = self._connect()

    async def _look(self) -> PoolSnapshot:
        self._leaving.look_at_clocks()
        found = await self._pool.snapshot_for_queen()
        self._syncing.saw(draining=found.draining)
        return found

    async def _send(self, snapshot: PoolSnapshot) -> None:
        while self._replaced:  # here, since only a beat uses them
            await self._replaced.pop().close()
        await QueenClient(self._queen).heartbeat(snapshot.id, snapshot)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    return tls.context(settings.pool.tls_cert, settings.pool.tls_key, "pool", os.environ)


def _queen(settings: Settings, tokens: tuple[str, ...]) -> Reigning:
    def connect(url: str) -> HttpClient:
        token, ca_file = tokens[0] if tokens else "", settings.pool.tls_ca
        return HttpClient(url, token=token, source="queen", timeout_s=QUEEN_S, ca_file=ca_file)

    return Reigning(settings.pool.queen, connect)


def _workers_line(found: PoolSnapshot) -> str:
    """Return ``2 workers (1 ready, 1 asleep)``."""
    states = [worker.state for worker in found.workers]
    counts = ", ".join(f"{states.count(state)} {state}" for state in WorkerState if state in states)
    return counted(len(states), "worker") + (f" ({counts})" if counts else "")
