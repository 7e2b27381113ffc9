"""The entry of pool-managerd: read the settings, build what is needed, serve."""

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import NoReturn

from prometheus_client import CollectorRegistry

from rbee import config, host, log
from rbee.adapters.notify import Notifier
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.config import Settings
from rbee.daemon import entry
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app, mount
from rbee.daemon.serve import is_loopback, listening_socket, require_token, serve
from rbee.pool_core.service import PoolService
from rbee.pool_managerd.heartbeat import Heartbeat
from rbee.pool_managerd.metrics import observe
from rbee.pool_managerd.routes import HANDLERS, announcing
from rbee.wire.operations import POOL
from rbee.wire.pools import PoolSnapshot
from rbee.wire.workers import WorkerState

USAGE = """
pool-managerd: this host's workers, models and GPUs over HTTP, and a heartbeat to the queen.

Usage:
  pool-managerd [options]

Under systemd it listens on the socket of rbee-pool.socket; by hand, where --bind or [pool] bind says.

Options:
  --config=<file>   Read this rbee.toml.
  --bind=<addr>     Listen there, host:port.
  --check-config    Check the settings, say what is wrong, and exit: 0, or 78.
  --debug           Log more.
  -h, --help        Show this.
  --version         Show the version.
"""
GRACE_S = 20.0


def main() -> NoReturn:
    """Run pool-managerd; exit codes are those of sysexits(3)."""
    sys.exit(entry.main("pool-managerd", USAGE, run))


def run(args: entry.Args) -> None:
    """Serve until stopped."""
    settings = config.load(args["--config"], os.environ, pool={"bind": args["--bind"]})
    tokens = config.read_token(settings.pool.token_file, environ=os.environ)
    if args["--check-config"]:
        sys.stdout.write(f"{settings.file or 'the defaults'}: right\n")
        return
    name = config.pool_id(settings)
    log.setup("pool-managerd", debug=bool(args["--debug"]), pool=name)
    sock = listening_socket(args["--bind"], settings.pool.bind)
    require_token(sock, tokens, "pool")
    metrics = CollectorRegistry()
    app = create_app(
        "pool-managerd",
        source=f"pool:{name}",
        access=Access(tokens=tokens, callers={}, loopback=is_loopback(sock)),
        metrics=metrics,
        body_limit_bytes=settings.pool.body_limit_bytes,
        connections=settings.pool.connections,
    )
    mount(app, POOL, {key: announcing(handler) for key, handler in HANDLERS.items()})
    ip, port = sock.getsockname()[:2]
    daemon = Daemon(app, settings, args["--config"], tokens, f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")
    observe(metrics, lambda: daemon.snapshot)
    serve(
        app,
        sock=sock,
        notifier=Notifier.from_environ(os.environ),
        vital=daemon.vital,
        status=daemon.status,
        reload=daemon.reload,
        on_start=daemon.start,
        on_stop=daemon.stop,
        grace_s=GRACE_S,
    )


@dataclass(slots=True)
class Daemon:
    """What lives as long as the process: the pool, and the heartbeat that tells the queen of it."""

    app: App
    settings: Settings
    config_path: str | None
    tokens: tuple[str, ...]
    address: str
    pool: PoolService | None = None
    heartbeat: Heartbeat | None = None
    queen: HttpClient | None = None
    task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the pool and begin to beat."""
        self.open_pool()
        self.heartbeat = Heartbeat(self._look, self._send, interval_s=self.settings.pool.heartbeat_s)
        self.app.ctx.heartbeat = self.heartbeat
        self.task = asyncio.create_task(self.heartbeat.run(), name="heartbeat")

    def open_pool(self) -> None:
        """Put the pool together as the settings say."""
        self.pool = host.open_pool(self.settings, os.environ, address=self.address)
        self.app.ctx.pool = self.pool
        self.queen = HttpClient(
            self.settings.pool.queen, token=self.tokens[0] if self.tokens else "", source="queen", timeout_s=10
        )

    async def stop(self) -> None:
        """Stop beating. Workers are systemd's, and go on."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
        if self.queen is not None:
            await self.queen.close()

    def reload(self) -> None:
        """Take over the file and the tokens as they are now; raises ConfigInvalid and changes nothing."""
        settings = config.load(self.config_path, os.environ)
        tokens = config.read_token(settings.pool.token_file, environ=os.environ)
        old = self.queen
        self.settings, self.tokens = settings, tokens
        self.open_pool()
        access: Access = self.app.ctx.access
        self.app.ctx.access = Access(tokens=tokens, callers={}, loopback=access.loopback)
        if old is not None:
            self.app.add_task(old.close())

    @property
    def snapshot(self) -> PoolSnapshot | None:
        return self.heartbeat.last if self.heartbeat else None

    def vital(self) -> str | None:
        """Say what stands still: the heartbeat, through a D-Bus or a disk that does not answer."""
        if self.task is None or self.heartbeat is None:
            return None
        if self.task.done():
            return "the heartbeat has ended"
        return self.heartbeat.standstill()

    def status(self) -> str:
        """Say how many workers there are and whether the queen knows us."""
        found = self.snapshot
        if found is None or self.heartbeat is None:
            return "queen not asked yet"
        states = [worker.state for worker in found.workers]
        counts = ", ".join(f"{states.count(state)} {state}" for state in WorkerState if state in states)
        workers = f"{len(states)} workers" + (f" ({counts})" if counts else "")
        queen = f"queen: {self.heartbeat.trouble}" if self.heartbeat.trouble else "queen ok"
        return f"{workers}, {queen}" + (", draining" if found.draining else "")

    async def _look(self) -> PoolSnapshot:
        assert self.pool is not None  # noqa: S101  (opened before the first beat)
        return await self.pool.snapshot_for_queen()

    async def _send(self, snapshot: PoolSnapshot) -> None:
        assert self.queen is not None  # noqa: S101
        await QueenClient(self.queen).heartbeat(snapshot.id, snapshot)
