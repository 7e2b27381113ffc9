"""A port of loopback for a child process that has to be told one."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """Yield a free port, and keep it from everybody who asks for any.

    Who asks for this one gets it: on Linux two may bind a port if both say SO_REUSEADDR and one does not listen.
    """
    with socket.socket() as keeping:
        keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeping.bind(("127.0.0.1", 0))
        yield int(keeping.getsockname()[1])
