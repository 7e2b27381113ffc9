"""Whom a command speaks to over HTTP: the queen, and now and then a pool."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from rbee import config
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.keeper.settings import settings_of

if TYPE_CHECKING:
    from rbee.client.pool import PoolClient


@contextlib.asynccontextmanager
async def reached(args: Args) -> AsyncIterator[QueenClient]:
    """Give the queen of [keeper] queen."""
    async with http_to(args, settings_of(args).keeper.queen, "queen") as http:
        yield QueenClient(http)


@contextlib.asynccontextmanager
async def pool_at(args: Args, url: str, source: str = "the pool") -> "AsyncIterator[PoolClient]":
    """Give the pool that listens at ``url``."""
    from rbee.client.pool import PoolClient  # noqa: PLC0415  (what only the queen is asked for does without)

    async with http_to(args, url, source) as http:
        yield PoolClient(http)


def http_to(args: Args, url: str, source: str) -> HttpClient:
    """Return a connection with the token that this person may read."""
    keeper = settings_of(args).keeper
    tokens = config.read_token(keeper.token_file, environ=os.environ)
    timeout_s = parse_seconds(args["--timeout"], "--timeout")
    return HttpClient(
        url,
        token=tokens[0] if tokens else "",
        source=source,
        timeout_s=timeout_s,
        ca_file=keeper.tls_ca,
        same_version=True,
    )
