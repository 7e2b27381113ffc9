"""Streams that end when their reader does."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar, cast

T = TypeVar("T")


def closing(stream: AsyncIterator[T]) -> "contextlib.aclosing[AsyncGenerator[T, None]]":
    """Return ``stream``, a generator like all of ours, to be closed by ``async with``.

    ``async for`` alone leaves a generator it did not exhaust open until it is collected.
    """
    return contextlib.aclosing(cast(AsyncGenerator[T, None], stream))
