"""Which pool a command speaks to: the daemon's over HTTP, or this host itself when none listens."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from rbee import config, host
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.config import Settings
from rbee.errors import InvalidRequest
from rbee.pool_core.ops import PoolOps

PROBE_S = 1.0


def settings_of(args: Args) -> Settings:
    """Return the settings of the file, the environment and --config."""
    return config.load(args["--config"], os.environ)


@contextlib.asynccontextmanager
async def reached(args: Args, *, ours: bool = False) -> AsyncIterator[PoolOps]:
    """Give the pool: with --http the daemon, with --direct this host, else the daemon if it listens.

    Args:
        ours: it is about something that belongs to whoever asks, and not to the daemon's user: ask the daemon
            only with --http.
    """
    if args["--http"] and args["--direct"]:
        raise InvalidRequest("--http and --direct exclude each other")
    timeout_s = parse_seconds(args["--timeout"], "--timeout")
    settings = settings_of(args)
    if args["--http"] or (not args["--direct"] and not ours and _listens(settings.hive.pool)):
        tokens = config.read_token(settings.hive.token_file, environ=os.environ)
        async with HttpClient(
            settings.hive.pool,
            token=tokens[0] if tokens else "",
            source="pool-managerd",
            timeout_s=timeout_s,
            ca_file=settings.hive.tls_ca,
            same_version=True,
        ) as http:
            yield PoolClient(http)
    else:
        yield host.open_pool(settings, os.environ)


def _listens(url: str) -> bool:
    """Say whether anything accepts connections there. A socket of systemd's does, and starts the daemon by it."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=PROBE_S):
            return True
    except OSError:
        return False
