"""The real process, as systemd starts it: inherited socket, credential, notifications, signals, exit codes."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from rbee.llm_worker.leaving import PATIENCE_S
from rbee.wire.sse import Parser
from tests.rig.waiting import PATIENCE

SECRET = "a-secret-of-the-tests"
START = 'fd="$1"; shift; exec 3<&"$fd"; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
PROGRAM = [sys.executable, "-c", "import sys; from rbee.llm_worker.main import main; sys.exit(main())"]
PATIENT = """
import sys
from rbee.daemon import protocol
from rbee.llm_worker import leaving, main

protocol.NEWCOMER_S = leaving.PATIENCE_S = 60.0
sys.exit(main.main())
"""
STOPPED = """
import asyncio, os, signal, sys
from rbee.daemon import protocol
from rbee.llm_worker import leaving, main

sleep, between = asyncio.sleep, 0

def stopped(*args):
    global between
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # Sanic is about to run the loop for a moment
        between += 1
        if between == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        elif between == 2:
            print("stopped", file=sys.stderr, flush=True)
    return sleep(*args)

asyncio.sleep = stopped
protocol.NEWCOMER_S = leaving.PATIENCE_S = 60.0
sys.exit(main.main())
"""
BROKEN = """
import sys
from rbee.daemon import protocol
from rbee.llm_worker import generating, leaving, main

def fail():
    raise ValueError("what somebody asked")

def run(self):
    self._desk.next(room=True, able=lambda: False)
    self._desk._loop.call_soon_threadsafe(fail)
    raise SystemError("what somebody asked")

generating.Generating.run = run
protocol.NEWCOMER_S = leaving.PATIENCE_S = 60.0
sys.exit(main.main())
"""
HEADERS = {"Authorization": f"Bearer {SECRET}"}


class Unit:
    """What systemd holds for a worker: the listening socket, the credential, the other end of sd_notify."""

    def __init__(self, folder: Path) -> None:
        (folder / "secret").write_text(SECRET)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.setblocking(False)
        self.said: list[str] = []
        self.news = asyncio.Event()
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "CREDENTIALS_DIRECTORY": str(folder),
            "NOTIFY_SOCKET": str(folder / "notify"),
        }

    @contextlib.asynccontextmanager
    async def started(
        self, path: Path, *more: str, program: Sequence[str] = PROGRAM
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        words = [
            "--id=worker-cpu-0", "--model=tiny", "--backend=cpu", "--address=127.0.0.1:1", "--ctx=512",
            "--slots=1", "--threads=1", *(more or ("--idle=300",)), str(path),
        ]  # fmt: skip
        asyncio.get_running_loop().add_reader(self.notify, self.take_in)  # who is not read holds up the worker
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", START, "unit", str(self.socket.fileno()), *program, *words,
            env=self.environ, pass_fds=[self.socket.fileno()], stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
            asyncio.get_running_loop().remove_reader(self.notify)
            self.take_in()

    def take_in(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.said.extend(self.notify.recv(4096).decode().splitlines())
                self.news.set()

    async def hears(self, word: str) -> str:
        """Wait for a notification that begins with ``word``."""
        async with asyncio.timeout(30 * PATIENCE):
            while True:
                self.news.clear()
                for said in self.said:
                    if said.startswith(word):
                        return said
                await self.news.wait()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.socket.close()
    made.notify.close()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(30 * PATIENCE):
        return await process.wait()


async def test_it_wakes_for_a_request_and_says_what_it_does(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny) as process, aiohttp.ClientSession(unit.url, headers=HEADERS) as http:
        async with http.post("/v1/inference", json={"prompt": "hello", "max_tokens": 4}) as response:
            assert response.status == 200
            assert "event: end" in await response.text()
        assert await unit.hears("READY=1")
        assert await unit.hears("STATUS=ready 0/1 slots, tiny")
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        assert await unit.hears("STOPPING=1")


async def test_idle_it_leaves_and_the_next_request_finds_its_successor(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, "--idle=1") as process:
        assert await ended(process) == 0
    async with aiohttp.ClientSession(unit.url, headers=HEADERS) as http:
        asked = asyncio.ensure_future(http.get("/v1/models"))
        await asyncio.sleep(0.05)
        async with unit.started(tiny), await asked as response:
            assert response.status == 200


async def says(process: asyncio.subprocess.Process, word: str) -> None:
    """Wait until its log says ``word``."""
    assert process.stderr is not None
    async with asyncio.timeout(30 * PATIENCE):
        while word not in (await process.stderr.readline()).decode():
            pass


async def post(writer: asyncio.StreamWriter, more: dict[str, object]) -> None:
    body = json.dumps({"prompt": "hello", **more}).encode()
    head = (
        f"POST /v1/inference HTTP/1.1\r\nHost: w\r\nAuthorization: Bearer {SECRET}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


async def test_a_request_that_arrives_in_the_last_moment_is_answered(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, "--idle=1", program=[sys.executable, "-c", PATIENT]) as process:
        reader, writer = await asyncio.open_connection(*unit.socket.getsockname())
        await unit.hears("READY=1")
        await says(process, "worker.idle")
        await post(writer, {"max_tokens": 5})
        answer = await asyncio.wait_for(reader.read(), 30 * PATIENCE)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"event: end" in answer
        writer.close()
        assert await ended(process) == 0


async def test_systemd_that_would_kill_a_stopping_worker_hears_of_no_stop_before_the_last_answer(
    unit: Unit, tiny: Path
) -> None:
    async with unit.started(tiny, "--idle=1", program=[sys.executable, "-c", PATIENT]) as process:
        _, writer = await asyncio.open_connection(*unit.socket.getsockname())
        await unit.hears("READY=1")
        await says(process, "worker.idle")
        await post(writer, {"max_tokens": 5})
        assert await ended(process) == 0
        unit.take_in()
        assert "STOPPING=1" not in unit.said
        writer.close()


async def test_who_stops_a_worker_that_still_answers_on_its_way_out_is_obeyed(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, "--idle=1", program=[sys.executable, "-c", PATIENT]) as process:
        reader, writer = await asyncio.open_connection(*unit.socket.getsockname())
        await unit.hears("READY=1")
        await says(process, "worker.idle")
        await post(writer, {"max_tokens": 400, "temperature": 1.0, "seed": 5})
        assert await reader.readuntil(b"event: token")
        process.send_signal(signal.SIGTERM)
        assert b"event: end" in await asyncio.wait_for(reader.read(), 30 * PATIENCE)
        writer.close()
        assert await ended(process) == 0


async def test_a_stop_that_comes_between_two_runs_of_its_loop_is_heeded_in_the_next(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, "--idle=1", program=[sys.executable, "-c", STOPPED]) as process:
        reader, writer = await asyncio.open_connection(*unit.socket.getsockname())
        await says(process, "stopped")
        await post(writer, {"max_tokens": 5})
        answer = await asyncio.wait_for(reader.read(), 30 * PATIENCE)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"shutting_down" in answer
        writer.close()
        assert await ended(process) == 0


@pytest.mark.parametrize("said", ["", "POST /v1/inference HTTP/1.1\r\nHost: w\r\n", "half a body"])
async def test_who_does_not_say_what_they_want_holds_up_no_end(unit: Unit, tiny: Path, said: str) -> None:
    async with unit.started(tiny, "--idle=1") as process:
        reader, writer = await asyncio.open_connection(*unit.socket.getsockname())
        await unit.hears("READY=1")
        if said == "half a body":
            said = f"POST /v1/inference HTTP/1.1\r\nHost: w\r\nAuthorization: Bearer {SECRET}\r\n"
            said += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        writer.write(said.encode())
        await says(process, "worker.idle")
        async with asyncio.timeout(PATIENCE_S + 20 * PATIENCE):
            assert await process.wait() == 0
            await reader.read()
        writer.close()


async def test_sigterm_lets_the_stream_in_flight_end(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny) as process, aiohttp.ClientSession(unit.url, headers=HEADERS) as http:
        body = {"prompt": "hello", "max_tokens": 500, "temperature": 1.0, "seed": 5}
        async with http.post("/v1/inference", json=body) as response:
            parser, events = Parser(), []
            async for chunk in response.content.iter_any():
                if not events:
                    process.send_signal(signal.SIGTERM)
                events.extend(parser.feed(chunk))
        assert events[-1].event == "end"
        assert json.loads(events[-1].data)["stop_reason"] in ("max_tokens", "eos")
        assert await ended(process) == 0


async def test_drain_ends_the_process(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny) as process, aiohttp.ClientSession(unit.url, headers=HEADERS) as http:
        async with http.post("/v1/drain") as response:
            assert response.status == 204
        assert await ended(process) == 0


async def test_a_model_that_does_not_load_exits_with_a_data_error(unit: Unit, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"no model")
    async with unit.started(path) as process:
        _, said = await asyncio.wait_for(process.communicate(), 30 * PATIENCE)
        assert process.returncode == os.EX_DATAERR
    assert b"model.load_failed" in said
    assert b"invalid magic characters" in said
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await unit.hears("READY=1")


async def test_a_thread_that_dies_takes_the_process_along_and_says_nobodys_words(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, program=[sys.executable, "-c", BROKEN]) as process:
        async with (
            asyncio.timeout(30 * PATIENCE),
            aiohttp.ClientSession(unit.url, headers=HEADERS) as http,
            http.post("/v1/inference", json={"prompt": "hello"}) as response,
        ):
            assert response.status == 502
            assert (await response.json())["error"]["code"] == "worker_lost"
        _, said = await asyncio.wait_for(process.communicate(), 30 * PATIENCE)
        assert process.returncode == os.EX_SOFTWARE
    assert b"decode.ended" in said
    assert b"error=SystemError" in said
    assert b"loop.failed" in said
    assert b"error=ValueError" in said
    assert b"what somebody asked" not in said


async def test_a_thread_that_dies_on_the_way_out_ends_it_in_the_same_good_order(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, "--idle=1", program=[sys.executable, "-c", BROKEN]) as process:
        reader, writer = await asyncio.open_connection(*unit.socket.getsockname())
        await unit.hears("READY=1")
        await says(process, "worker.idle")
        await post(writer, {"max_tokens": 5})
        assert b"worker_lost" in await asyncio.wait_for(reader.read(), 30 * PATIENCE)
        writer.close()
        _, said = await asyncio.wait_for(process.communicate(), 30 * PATIENCE)
    assert process.returncode == os.EX_SOFTWARE
    assert b"Traceback" not in said


async def test_without_a_secret_it_does_not_start(unit: Unit, tiny: Path) -> None:
    del unit.environ["CREDENTIALS_DIRECTORY"]
    async with unit.started(tiny) as process:
        assert await ended(process) == os.EX_CONFIG


async def test_a_wrong_command_line_is_a_usage_error(unit: Unit, tiny: Path) -> None:
    async with unit.started(tiny, "--idle=never") as process:
        assert await ended(process) == os.EX_USAGE


async def test_the_post_mortem_imports_no_server(unit: Unit) -> None:
    code = (
        "import sys; sys.argv[1:] = ['--post-mortem', '--id=w']; from rbee.llm_worker.main import main; main();"
        "print([m for m in ('sanic', 'llama_cpp', 'asyncio', 'docopt', 'json') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=unit.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, said = await process.communicate()
    assert out.strip() == b"[]"
    assert b"worker.ended worker=w" in said
