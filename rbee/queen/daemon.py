"""What lives as long as the process: the application, and behind it the queen once she reigns."""

import os
import signal
import socket
from pathlib import Path

from rbee import config, log
from rbee.adapters.policy import PolicyScript
from rbee.config import Settings
from rbee.daemon import tls
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app
from rbee.daemon.serve import is_loopback, require_token
from rbee.errors import NoCapacity, RbeeError, ShuttingDown, Standby
from rbee.pool_core.catalog import merged
from rbee.queen import anthropic_routes, ollama_routes, openai_routes, responses_routes, routes
from rbee.queen.metrics import Metrics
from rbee.queen.policy import Policy
from rbee.queen.queen import Queen
from rbee.queen.reign import Reign, refuse_without_queen
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store
from rbee.wire.catalog import ModelEntry


class Daemon:
    """
    Args:
        database: a store that is open, or a database that several queens share.

    Attributes:
        ended: why the process ended by itself, if it did.
    """

    def __init__(
        self,
        settings: Settings,
        file: str | None,
        tokens: tuple[str, ...],
        sock: socket.socket,
        database: Store | Postgres,
        metrics: Metrics,
        policy: Policy,
    ) -> None:
        self.sock = sock
        self.tls = tls.context(settings.queen.tls_cert, settings.queen.tls_key, "queen", os.environ)
        self.ended: RbeeError | None = None
        self._policy = policy
        self._file = file
        self._tokens = tokens
        self._settings = settings
        self._metrics = metrics
        self._queen: Queen | None = None
        self._store = database if isinstance(database, Store) else None
        self._reign: Reign | None = None
        if isinstance(database, Postgres):
            self._reign = Reign(database, self._opened, begin=self._begin, end=self._end)
        self.app = _app(settings, self._access(settings, tokens), metrics)
        self.app.ctx.queen = None
        self.app.ctx.refusal = self._refusal
        self.app.ctx.health = self._health

    async def start(self) -> None:
        if self._store is not None:
            await self._begin(self._store)
        elif self._reign is not None:
            self._reign.start()

    async def stop(self) -> None:
        if self._reign is not None:
            await self._reign.stop()
        if self._queen is not None:
            await self._queen.stop()

    def close(self) -> None:
        """Let the database go; the next queen may have it."""
        if self._store is not None:
            self._store.close()

    def reload(self) -> None:
        """Take tokens, callers, origins, models, policy and strategy from the file as it is now.

        Raises:
            ConfigInvalid: it is wrong; nothing was changed.
        """
        settings = config.load(self._file, os.environ)
        tokens = config.read_token(settings.queen.token_file, environ=os.environ)
        require_token(self.sock, tokens, "queen")
        tls.reload(self.tls, settings.queen.tls_cert, settings.queen.tls_key, "queen", os.environ)
        models, policy = catalog(settings), policy_of(settings)
        self.app.ctx.access = self._access(settings, tokens)
        self._settings, self._tokens, self._policy = settings, tokens, policy
        if self._queen is not None:
            self._queen.reconfigure(
                token=_presented(tokens), catalog=models, policy=policy, strategy=settings.queen.strategy
            )

    def vital(self) -> str | None:
        return self._queen.standstill() if self._queen is not None else None

    def status(self) -> str:
        if self._queen is not None:
            return self._queen.status_line()
        return self._reign.status() if self._reign is not None else "starting"

    def _opened(self, database: Postgres) -> Store:
        return Store(database, observe_s=self._metrics.write_s.observe)

    async def _begin(self, store: Store) -> None:
        self._store = store
        self._queen = Queen(
            store,
            self._settings.queen,
            token=_presented(self._tokens),
            catalog=catalog(self._settings),
            metrics=self._metrics,
            policy=self._policy,
        )
        await self._queen.start()
        self.app.ctx.queen = self._queen

    def _end(self, error: RbeeError) -> None:
        """End as SIGTERM would, but with the exit code of ``error``."""
        self.ended = error
        log.warning("queen.ends", why=error.message)
        os.kill(os.getpid(), signal.SIGTERM)

    def _health(self) -> str:
        """Return ``ok`` of a queen who reigns, else what she waits for."""
        if self.app.ctx.queen is not None:
            return "ok"
        refusal = self._refusal()
        return (
            "standby"
            if isinstance(refusal, Standby)
            else "no_database"
            if isinstance(refusal, NoCapacity)
            else "starting"
        )

    def _refusal(self) -> RbeeError:
        return self._reign.refusal if self._reign is not None else ShuttingDown("the queen is starting")

    def _access(self, settings: Settings, tokens: tuple[str, ...]) -> Access:
        return Access(
            tokens=tokens,
            callers=settings.queen.callers,
            loopback=is_loopback(self.sock),
            origins=settings.queen.cors_origins,
        )


def policy_of(settings: Settings) -> Policy:
    """Raises ConfigInvalid when the script is wrong."""
    script, record = settings.queen.policy, settings.queen.record
    return Policy(PolicyScript.load(Path(script)) if script else None, Path(record) if record else None)


def catalog(settings: Settings) -> tuple[ModelEntry, ...]:
    """Return the built-in and the configured models."""
    known = merged(settings.models).entries
    return tuple(ModelEntry(id=each.id, reference=each.reference, aliases=each.aliases) for each in known)


def _app(settings: Settings, access: Access, metrics: Metrics) -> App:
    app = create_app(
        "queen-rbee",
        source="queen",
        access=access,
        metrics=metrics.registry,
        body_limit_bytes=settings.queen.body_limit_bytes,
        connections=settings.queen.connections,
    )
    app.register_middleware(refuse_without_queen, "request")
    routes.add_routes(app)
    openai_routes.add_routes(app)
    responses_routes.add_routes(app)
    anthropic_routes.add_routes(app)
    ollama_routes.add_routes(app)
    return app


def _presented(tokens: tuple[str, ...]) -> str:
    """Return the token we present to pools: the first of those we accept."""
    return tokens[0] if tokens else ""
