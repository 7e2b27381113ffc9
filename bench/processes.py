"""The processes that a bench measures: real ones, started here, looked at from outside, and ended at the end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.errors import RbeeError

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
"""On the disk of the checkout: a database in a tmpfs would be none."""

START_S, STOP_S = 120.0, 15.0
_LOOK_S, _IDLE_S = 0.1, 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """``address`` is host:port."""

    pid: int
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def rss_mb(self) -> float:
        """Return what it has in memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Return how long it has kept a core busy, in user and system mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def still(process: Process) -> Iterator[None]:
    """Let a process do nothing meanwhile."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


async def quiet(process: Process) -> None:
    """Return once a process has nothing to do any more: what was asked of it before is over, cancelled or not."""
    async with asyncio.timeout(STOP_S):
        before_s = process.cpu_s()
        while True:
            await asyncio.sleep(_LOOK_S)
            now_s = process.cpu_s()
            if now_s - before_s <= _IDLE_S:
                return
            before_s = now_s


@contextlib.asynccontextmanager
async def queen(database: str = "", **settings: object) -> AsyncIterator[Process]:
    """Run queen-rbee with a new database, or the one that is named."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="queen-") as where:
        known = {"database": database or f"{where}/queen.sqlite", "connections": 1000, "pools": [], **settings}
        config = Path(where) / "rbee.toml"
        config.write_text("[queen]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in known.items()))
        address = f"127.0.0.1:{free_port()}"
        argv = [f"{Path(sys.executable).parent}/queen-rbee", f"--config={config}", f"--bind={address}"]
        async with running(argv, log=Path(where) / "log", env={"STATE_DIRECTORY": where}) as pid:
            await answering(pid, address, "/v2/tasks?limit=1")  # /health answers while she starts, too
            yield Process(pid, address)


@contextlib.asynccontextmanager
async def paced_worker(**options: object) -> AsyncIterator[Process]:
    """Run the stand-in for a worker; ``options`` are those of its command line."""
    BUILD.mkdir(parents=True, exist_ok=True)
    told = BUILD / "paced_worker.log"
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    async with running([sys.executable, "-m", "bench.paced_worker", *given], log=told) as pid:
        async with asyncio.timeout(START_S):
            while not (address := told.read_text().partition("\n")[0]):  # noqa: ASYNC110  (a file tells nobody)
                await asyncio.sleep(0.02)
        yield Process(pid, address)


@contextlib.asynccontextmanager
async def running(
    argv: list[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[int]:
    """Run ``argv`` with nothing in its environment but ``env`` and a PATH; what it prints goes to ``log``."""
    known = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(log.parent), **(env or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220  (uvloop's own knows no user; it is started once)
            argv, stdout=out, stderr=out, cwd=ROOT, env=known, user=user, group=user, extra_groups=[] if user else None,
            pass_fds=pass_fds,
        )  # fmt: skip
    try:
        yield process.pid
    except BaseException:
        if process.poll() is not None:
            sys.stderr.write(f"{argv[0]} ended by itself, {process.returncode}: {_tail(log)}\n")
        raise
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def answering(pid: int, address: str, path: str, *, token: str = "") -> None:
    """Wait until the process answers there, for as long as it lives; ``running`` says why it does not."""
    async with HttpClient(f"http://{address}", token=token, timeout_s=5) as http, asyncio.timeout(START_S):
        while "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8"):  # noqa: ASYNC240
            try:
                await http.call("GET", path)
            except RbeeError:
                await asyncio.sleep(0.1)
            else:
                return
    raise RuntimeError(f"process {pid} ended before it answered")


@contextlib.asynccontextmanager
async def client(of: Process) -> AsyncIterator[QueenClient]:
    async with HttpClient(of.url, source="queen") as http:
        yield QueenClient(http)


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _tail(log: Path) -> str:
    return " ".join(log.read_text(errors="replace").splitlines()[-5:])
