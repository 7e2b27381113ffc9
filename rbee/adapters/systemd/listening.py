"""What arrives on a bus is handled as it arrives, until the bus is lost."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from rbee.adapters.systemd.bus import Bus
from rbee.errors import NoManager


@contextlib.contextmanager
def listening(bus: Bus, lost: Callable[[NoManager], None]) -> Iterator[None]:
    """Let ``bus`` call its handlers from the event loop; ``lost`` is called once, after which nothing comes any more.

    libsystemd (252) aborts a process that goes on to read from a connection that was cut. While this runs nobody may
    call a method on ``bus``: signals that come in with the answer make it readable no more.
    """
    loop, descriptor = asyncio.get_running_loop(), bus.fileno()  # a bus that was cut no longer says which it had
    reads = True

    def leave() -> None:
        nonlocal reads
        if reads:  # once: later the number may be somebody else's
            reads = False
            loop.remove_reader(descriptor)

    def read() -> None:
        try:
            bus.process()
        except NoManager as error:
            leave()
            lost(error)

    loop.add_reader(descriptor, read)
    try:
        read()  # what came in with answers to calls made before makes the descriptor readable no more
        yield
    finally:
        leave()
