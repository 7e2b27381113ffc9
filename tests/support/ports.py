"""A port of loopback for a child process that has to be told one.

It is kept from everybody who asks for any; who asks for this one gets it: on Linux two may bind a port if both say
SO_REUSEADDR and one does not listen.
"""

import contextlib
import socket
from collections.abc import Iterator

_KEPT: list[socket.socket] = []


def free_port() -> int:
    """Return a port that is kept until the tests end."""
    keeping = _bound()
    _KEPT.append(keeping)
    return _port(keeping)


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """Yield a port that is kept meanwhile."""
    with _bound() as keeping:
        yield _port(keeping)


def _bound() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    return made


def _port(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])
