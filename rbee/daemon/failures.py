"""A failure of a stream: the response itself while that has not begun, and after that a piece of it."""

import math
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from rbee.daemon.closing import closing
from rbee.errors import RbeeError

T = TypeVar("T")


async def inside(
    pieces: AsyncIterator[T], told: Callable[[RbeeError], T], *, ours_s: float = math.inf
) -> AsyncIterator[T]:
    """Yield ``pieces``; a failure is raised while it can still be the response's status, and told as a piece after.

    Args:
        ours_s: how long that can be where no piece comes, since something else may begin the response.
    """
    began_s, begun = time.monotonic(), False
    try:
        async with closing(pieces) as stream:
            async for piece in stream:
                yield piece
                begun = True
    except RbeeError as error:
        if not begun and time.monotonic() - began_s < ours_s:
            raise
        yield told(error)
