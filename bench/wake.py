"""How long a worker takes that sleeps, from request to first token: python -m bench.wake

The peer is llama-server, started by hand on the same file and libraries, and asked as soon as its /health says that it
has loaded; that is looked at every 5 ms. In turns; the file is in the page cache, and so is all else that is read.
A process that holds the socket and becomes the worker (``bench.asleep``) stands for systemd.
"""

import asyncio
import contextlib
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.answers import ask
from bench.processes import BUILD, Process, free_port, running
from bench.prompts import question
from bench.report import Cell, Table, goal, program
from bench.servers import LLAMA_SERVER, RBEE, Server, Setting, llama_server_argv, worker_argv, worker_environ

MOST = 1.3
SLOTS, CTX = 4, 4096
LOOK_S = 0.005
FAR_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """What passed, in ms: since somebody connected, and of that since the worker's program was started."""

    first_token: float
    start_to_answer: float
    start_to_ready: float
    start_to_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What passed since llama-server was started, in ms."""

    to_healthy: float
    first_token: float


def measure(times: int = 9, model: str = "", lib: str = "", llama_server: str = "", threads: int = 0) -> Table:
    """Wake the one and start the other ``times`` times, after one that does not count."""
    setting = Setting.named(
        model=model, lib=lib, slots=SLOTS, ctx=CTX, threads=threads, device="cpu", llama_server=llama_server
    )
    setting.model.read_bytes()
    return asyncio.run(_measure(setting, times))


async def _measure(setting: Setting, times: int) -> Table:
    woken, started = [], []
    for n in range(times + 1):
        woken.append(await wake(setting, n))
        started.append(await start(setting, n))
    return table(woken[1:], started[1:], model=setting.model.name)


async def wake(setting: Setting, number: int) -> Woken:
    """Ask a worker that sleeps."""
    log, told = BUILD / "wake.log", BUILD / "wake.notify"
    BUILD.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        argv = [sys.executable, "-m", "bench.asleep", str(listening.fileno()), *worker_argv(setting, address)]
        env = worker_environ(setting) | {"NOTIFY_SOCKET": str(told)}
        async with _notified(told) as ready, running(argv, log=log, env=env, pass_fds=[listening.fileno()]) as pid:
            await _says(log, 1)
            server = Server(name=RBEE, process=Process(pid, address))
            async with asyncio.timeout(FAR_S), asyncio.TaskGroup() as group:
                asking = group.create_task(ask(server, question(number), 1))
                answering = group.create_task(_answered(address))
            answer, ready_ns = asking.result(), await ready
            started_ns = int((await _says(log, 2))[1])
    return Woken(
        first_token=answer.first_ms,
        start_to_answer=(answering.result() - started_ns) / 1e6,
        start_to_ready=(ready_ns - started_ns) / 1e6,
        start_to_token=(answer.pieces[0] - started_ns) / 1e6,
    )


async def start(setting: Setting, number: int) -> Started:
    """Start llama-server, and ask it once it can be asked."""
    port = free_port()
    argv, address = llama_server_argv(setting, port), f"127.0.0.1:{port}"
    began_ns = time.monotonic_ns()
    async with running(argv, log=BUILD / "start.log", env=setting.environ()) as pid, asyncio.timeout(FAR_S):
        while not await _healthy(address):  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(LOOK_S)
        healthy_ns = time.monotonic_ns()
        answer = await ask(Server(name=LLAMA_SERVER, process=Process(pid, address)), question(number), 1)
    return Started(to_healthy=(healthy_ns - began_ns) / 1e6, first_token=(answer.pieces[0] - began_ns) / 1e6)


def table(woken: Sequence[Woken], started: Sequence[Started], *, model: str) -> Table:
    ratio = statistics.median(w.first_token / s.first_token for w, s in zip(woken, started, strict=True))
    shown = {
        "rbee's worker, asleep: from request to first token": [each.first_token for each in woken],
        "llama-server, by hand: from start to first token": [each.first_token for each in started],
        "worker: from start to its first answer (/health)": [each.start_to_answer for each in woken],
        "worker: from start to READY=1": [each.start_to_ready for each in woken],
        "worker: from start to first token": [each.start_to_token for each in woken],
        "llama-server: from start to /health": [each.to_healthy for each in started],
    }
    rows: list[list[Cell]] = [[what, statistics.median(ms), max(ms), "", ""] for what, ms in shown.items()]
    rows[0][3:] = [ratio, goal(ratio, MOST, f"× {LLAMA_SERVER}")]
    ran = (
        f"{model}, in the page cache, {SLOTS} slots of {CTX:,} tokens; {len(woken)} times each, in turns; "
        "a process that holds the socket stands for systemd."
    )
    columns = ("", "p50 ms", "most ms", f"{RBEE} : {LLAMA_SERVER}", "goal")
    return Table(name="wake", ran=ran, columns=columns, rows=rows)


@contextlib.asynccontextmanager
async def _notified(path: Path) -> AsyncIterator["asyncio.Future[int]"]:
    """Give what becomes the time at which somebody said READY=1 to the socket at ``path``."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[int] = loop.create_future()
    path.unlink(missing_ok=True)  # noqa: ASYNC240
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)

        def hear() -> None:
            if b"READY=1" in sock.recv(4096).split(b"\n") and not ready.done():
                ready.set_result(time.monotonic_ns())

        loop.add_reader(sock, hear)
        try:
            yield ready
        finally:
            loop.remove_reader(sock)


async def _says(log: Path, lines: int) -> list[str]:
    """Return what a process has printed, once that is so many lines."""
    async with asyncio.timeout(FAR_S):
        while len(said := log.read_text(encoding="utf-8").splitlines()) < lines:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(LOOK_S)
    return said


async def _answered(address: str) -> int:
    """Ask for /health, patiently, and return when the answer came."""
    await _health(address)
    return time.monotonic_ns()


async def _healthy(address: str) -> bool:
    try:
        return (await _health(address)).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


async def _health(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        return await reader.readline()
    finally:
        writer.close()


if __name__ == "__main__":
    program(__doc__, measure, times=9, model="", lib="", llama_server="", threads=0)
