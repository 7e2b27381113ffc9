"""Queens that are up in a twentieth of a second: forked from a process that has imported everything and done nothing.

Each is a process of its own that runs queen-rbee's ``main`` on the socket that all of them inherit, as under systemd:
whoever connects while there is none waits for the next.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rbee.queen.main import main
from tests.rig.waiting import PATIENCE

_FORK = 'fd="$1"; shift; exec 3<&"$fd"; exec "$@"'


def nurse() -> None:
    """Fork a queen for each line that comes in, tell its process id, and then how it ended."""
    for _ in sys.stdin:
        queen = os.fork()
        if queen == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
            sys.argv = ["queen-rbee"]
            main()
        sys.stdout.write(f"{queen}\n")
        sys.stdout.flush()
        _, status = os.waitpid(queen, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


class Nursery:
    """At most one queen at a time."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url
        self._queen = 0

    async def bear(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._queen = await self._told()

    async def kill(self) -> None:
        os.kill(self._queen, signal.SIGKILL)
        assert await self._told() == -signal.SIGKILL, "she had ended by herself"
        self._queen = 0

    async def close(self) -> None:
        if self._queen:
            await self.kill()
        self._process.terminate()
        await self._process.communicate()

    async def _told(self) -> int:
        assert self._process.stdout is not None
        async with asyncio.timeout(20 * PATIENCE):
            return int(await self._process.stdout.readline())


@asynccontextmanager
async def nursery(directory: Path, **settings: str) -> AsyncIterator[Nursery]:
    """Yield one whose queens have the database ``queen.sqlite`` in ``directory`` and log to ``queen.log`` there."""
    (directory / "rbee.toml").write_text("")
    environ = {
        **os.environ,
        "RBEE_QUEEN_DATABASE": str(directory / "queen.sqlite"),
        "RBEE_CONFIG": str(directory / "rbee.toml"),
        **settings,
    }
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock, (directory / "queen.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", _FORK, "nursery", str(sock.fileno()), sys.executable, "-m", __name__,
            env=environ, pass_fds=[sock.fileno()], stderr=log,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        made = Nursery(process, f"http://127.0.0.1:{sock.getsockname()[1]}")
        try:
            yield made
        finally:
            await made.close()


if __name__ == "__main__":
    nurse()
