"""Whom a command speaks to over HTTP: the queen, and now and then a pool."""

import contextlib
import os
from collections.abc import AsyncIterator

from rbee import config
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.client.queen import QueenClient
from rbee.config import Settings


def settings_of(args: Args) -> Settings:
    """Return the settings of the file, the environment and --config."""
    return config.load(args["--config"], os.environ)


@contextlib.asynccontextmanager
async def reached(args: Args) -> AsyncIterator[QueenClient]:
    """Give the queen of [keeper] queen."""
    async with http_to(args, settings_of(args).keeper.queen, "queen") as http:
        yield QueenClient(http)


@contextlib.asynccontextmanager
async def pool_at(args: Args, url: str) -> AsyncIterator[PoolClient]:
    """Give the pool that listens at ``url``."""
    async with http_to(args, url, "the pool") as http:
        yield PoolClient(http)


def http_to(args: Args, url: str, source: str) -> HttpClient:
    """Return a connection with the token that this person may read."""
    keeper = settings_of(args).keeper
    tokens = config.read_token(keeper.token_file, environ=os.environ)
    timeout_s = parse_seconds(args["--timeout"], "--timeout")
    return HttpClient(url, token=tokens[0] if tokens else "", source=source, timeout_s=timeout_s, ca_file=keeper.tls_ca)
