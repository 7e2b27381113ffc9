"""Stands for systemd where a worker sleeps: it holds the socket, and becomes the worker when somebody connects.

    python -m bench.asleep FD PROGRAM [WORD…]

FD is the listening socket, inherited. "asleep" goes to standard output, and when a connection waits there, the time
(monotonic, ns); then this very process is replaced by PROGRAM, as sd_listen_fds(3) wants it: socket 3, LISTEN_FDS,
LISTEN_PID. systemd would do the same, after it had made a unit ready: its cgroup and its sandbox.
"""

import os
import select
import sys
import time


def main(fd: int, argv: list[str]) -> None:
    """Wait, and do not return."""
    os.write(sys.stdout.fileno(), b"asleep\n")
    select.select([fd], [], [])
    os.write(sys.stdout.fileno(), f"{time.monotonic_ns()}\n".encode())
    os.dup2(fd, 3, inheritable=True)
    os.execve(argv[0], argv, os.environ | {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
