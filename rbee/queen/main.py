"""The entry of queen-rbee: read the settings, build what is needed, serve."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from rbee import config, log
from rbee.adapters.notify import Notifier
from rbee.adapters.policy import PolicyScript
from rbee.config import Settings
from rbee.daemon import entry, tls
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app
from rbee.daemon.serve import is_loopback, listening_socket, require_token, serve
from rbee.errors import ConfigInvalid
from rbee.pool_core.catalog import merged
from rbee.queen import openai_routes, routes
from rbee.queen.metrics import Metrics
from rbee.queen.policy import Policy
from rbee.queen.queen import Queen
from rbee.queen.store.store import Store
from rbee.wire.catalog import ModelEntry

USAGE = """
queen-rbee: takes jobs over HTTP, finds workers for them, streams the answers.

Usage:
  queen-rbee [options]

Under systemd it listens on the socket of rbee-queen.socket; by hand, where --bind or [queen] bind says.
SIGTERM ends no job: the next queen takes up what runs. SIGHUP reads tokens, callers, models and the policy again.

Options:
  --config=<file>   Read this rbee.toml.
  --bind=<addr>     Listen there, host:port.
  --check-config    Check the settings, say what is wrong, and exit: 0, or 78.
  --debug           Log more.
  -h, --help        Show this.
  --version         Show the version.
"""
GRACE_S = 10.0


def main() -> NoReturn:
    """Run queen-rbee; exit codes are those of sysexits(3)."""
    sys.exit(entry.main("queen-rbee", USAGE, run))


def run(args: entry.Args) -> None:
    """Serve until stopped.

    Raises:
        ConfigInvalid: the settings are wrong, or would serve the network without a token.
        Conflict: another queen has the database.
    """
    settings = config.load(args["--config"], os.environ, queen={"bind": args["--bind"]})
    tokens = config.read_token(settings.queen.token_file, environ=os.environ)
    policy = _policy(settings)
    if args["--check-config"]:
        sys.stdout.write(f"{settings.file or 'the defaults'}: right\n")
        return
    log.setup("queen-rbee", debug=bool(args["--debug"]))
    sock = listening_socket(args["--bind"], settings.queen.bind)
    require_token(sock, tokens, "queen")
    metrics = Metrics.make()
    store = Store(_database(settings), observe_s=metrics.write_s.observe)
    try:
        _serve(Daemon(settings, args["--config"], tokens, sock, store, metrics, policy))
    finally:
        store.close()


class Daemon:
    """The application and the queen behind it, who lives inside the running loop."""

    def __init__(
        self,
        settings: Settings,
        file: str | None,
        tokens: tuple[str, ...],
        sock: socket.socket,
        store: Store,
        metrics: Metrics,
        policy: Policy,
    ) -> None:
        self._policy = policy
        self.sock = sock
        self.tls = tls.context(settings.queen.tls_cert, settings.queen.tls_key, "queen", os.environ)
        self._file = file
        self._tokens = tokens
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._queen: Queen | None = None
        self.app = _app(settings, self._access(settings, tokens), metrics)

    async def start(self) -> None:
        queen = Queen(
            self._store,
            self._settings.queen,
            token=_presented(self._tokens),
            catalog=catalog(self._settings),
            metrics=self._metrics,
            policy=self._policy,
        )
        self._queen = self.app.ctx.queen = queen
        await queen.start()

    async def stop(self) -> None:
        if self._queen is not None:
            await self._queen.stop()

    def reload(self) -> None:
        """Take tokens, callers, origins, models, policy and strategy from the file as it is now.

        Raises:
            ConfigInvalid: it is wrong; nothing was changed.
        """
        settings = config.load(self._file, os.environ)
        tokens = config.read_token(settings.queen.token_file, environ=os.environ)
        require_token(self.sock, tokens, "queen")
        tls.reload(self.tls, settings.queen.tls_cert, settings.queen.tls_key, "queen", os.environ)
        models, policy = catalog(settings), _policy(settings)
        self.app.ctx.access = self._access(settings, tokens)
        if self._queen is not None:
            self._queen.reconfigure(
                token=_presented(tokens), catalog=models, policy=policy, strategy=settings.queen.strategy
            )

    def vital(self) -> str | None:
        return self._queen.standstill() if self._queen is not None else None

    def status(self) -> str:
        return self._queen.status_line() if self._queen is not None else "starting"

    def _access(self, settings: Settings, tokens: tuple[str, ...]) -> Access:
        return Access(
            tokens=tokens,
            callers=settings.queen.callers,
            loopback=is_loopback(self.sock),
            origins=settings.queen.cors_origins,
        )


def _policy(settings: Settings) -> Policy:
    """Raises ConfigInvalid when the script is wrong."""
    script, record = settings.queen.policy, settings.queen.record
    return Policy(PolicyScript.load(Path(script)) if script else None, Path(record) if record else None)


def catalog(settings: Settings) -> tuple[ModelEntry, ...]:
    """Return the built-in and the configured models."""
    known = merged(settings.models).entries
    return tuple(ModelEntry(id=each.id, reference=each.reference, aliases=each.aliases) for each in known)


def _serve(daemon: Daemon) -> None:
    serve(
        daemon.app,
        sock=daemon.sock,
        ssl=daemon.tls,
        notifier=Notifier.from_environ(os.environ),
        vital=daemon.vital,
        status=daemon.status,
        reload=daemon.reload,
        on_start=daemon.start,
        on_stop=daemon.stop,
        grace_s=GRACE_S,
    )


def _app(settings: Settings, access: Access, metrics: Metrics) -> App:
    app = create_app(
        "queen-rbee",
        source="queen",
        access=access,
        metrics=metrics.registry,
        body_limit_bytes=settings.queen.body_limit_bytes,
        connections=settings.queen.connections,
    )
    routes.add_routes(app)
    openai_routes.add_routes(app)
    return app


def _presented(tokens: tuple[str, ...]) -> str:
    """Return the token we present to pools: the first of those we accept."""
    return tokens[0] if tokens else ""


def _database(settings: Settings) -> Path:
    given = settings.queen.database
    if "://" in given:
        raise ConfigInvalid(
            f"[queen] database is {given.partition('://')[0]}://…, expected the path of an SQLite file",
            hint="leave it empty for queen.sqlite in the state directory",
        )
    return Path(given) if given else config.state_dir(os.environ) / "queen.sqlite"
