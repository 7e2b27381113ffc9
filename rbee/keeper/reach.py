"""Whom a command speaks to over HTTP: the queen, and now and then a pool.

Each way imports what it needs when it is taken: aiohttp and a loop are an eighth of a second.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from rbee import config
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.client.queen import QueenClient
from rbee.client.reigning import Reigning
from rbee.keeper.settings import settings_of

if TYPE_CHECKING:
    from rbee.client.http import HttpClient
    from rbee.client.pool import PoolClient

T = TypeVar("T")


def ask(args: Args, question: Callable[[QueenClient], Coroutine[Any, Any, T]]) -> T:
    """Return what the queen of [keeper] queen answers to one question, without a loop."""
    from rbee.client.blocking import BlockingHttp, at_once  # noqa: PLC0415

    how = _as_this_person(args, "queen")
    return at_once(
        question(QueenClient(Reigning(settings_of(args).keeper.queen, lambda url: BlockingHttp(url, **how))))
    )


@contextlib.asynccontextmanager
async def reached(args: Args, *, any_version: bool = False) -> AsyncIterator[QueenClient]:
    """Give the queen of [keeper] queen; with ``any_version`` also one of another, as while the house is upgraded."""

    def connect(url: str) -> "HttpClient":
        return http_to(args, url, "queen", any_version=any_version)

    async with Reigning(settings_of(args).keeper.queen, connect) as http:
        yield QueenClient(http)


@contextlib.asynccontextmanager
async def pool_at(args: Args, url: str, source: str = "the pool") -> "AsyncIterator[PoolClient]":
    """Give the pool that listens at ``url``."""
    from rbee.client.pool import PoolClient  # noqa: PLC0415

    async with http_to(args, url, source) as http:
        yield PoolClient(http)


def http_to(args: Args, url: str, source: str, *, any_version: bool = False) -> "HttpClient":
    """Return a connection with the token that this person may read."""
    from rbee.client.http import HttpClient  # noqa: PLC0415

    return HttpClient(url, **{**_as_this_person(args, source), "same_version": not any_version})


def _as_this_person(args: Args, source: str) -> dict[str, Any]:
    """Return how an endpoint is spoken to by who typed the command."""
    keeper = settings_of(args).keeper
    tokens = config.read_token(keeper.token_file, environ=os.environ)
    return {
        "token": tokens[0] if tokens else "",
        "source": source,
        "timeout_s": parse_seconds(args["--timeout"], "--timeout"),
        "ca_file": keeper.tls_ca,
        "same_version": True,
    }
