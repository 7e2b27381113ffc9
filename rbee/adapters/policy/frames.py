"""Messages between the queen and the process that runs her policy: a length, a time limit, and JSON."""

import socket
import struct

_HEAD = struct.Struct("!Id")
LONGEST_BYTES = 64 << 20
READ_S = 2.0
"""Of processor time, for reading a script."""

PATIENCE = 20
"""So many times its limit a script may take by the clock, where others have the processor; the queen waits for it."""


def send(to: socket.socket, body: bytes, limit_s: float = 0.0) -> None:
    """Raises OSError when nobody is there any more."""
    to.sendall(_HEAD.pack(len(body), limit_s) + body)


def receive(of: socket.socket) -> tuple[bytes, float]:
    """Return a message and its limit.

    Raises:
        EOFError: the other side has gone.
        OSError: the socket is broken, or has its time limit and that has passed.
    """
    length, limit_s = _HEAD.unpack(_exactly(of, _HEAD.size))
    if length > LONGEST_BYTES:
        raise OSError(f"a message of {length} bytes, expected at most {LONGEST_BYTES}")
    return _exactly(of, length), limit_s


def _exactly(of: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        piece = of.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return bytes(got)
