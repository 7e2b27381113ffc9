"""Two queens over one PostgreSQL: one reigns, the other stands by, and a stream outlives the first."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.client.reigning import Reigning
from rbee.errors import RbeeError, Standby
from rbee.wire.events import JobEvent, Token
from rbee.wire.jobs import JobQuery, JobSpec, JobState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.support.ports import free_port
from tests.support.postgres import Server
from tests.unit.queen.conftest import SOON_S, eventually, soon, text_of, words
from tests.unit.queen.test_restart import RUN

SPEC = JobSpec(model="tiny", prompt="hello", max_tokens=40)


@dataclass
class Process:
    """queen-rbee with a database of several."""

    folder: Path
    database: str
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.port}.log"

    async def start(self, health: str) -> None:
        """Return when she is up, and ``ok`` or ``standby`` as wanted."""
        config = self.folder / "rbee.toml"
        config.write_text(f"[queen]\ndatabase = '{self.database}'\npools = []\n")
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RUN, f"--config={config}", f"--bind=127.0.0.1:{self.port}", stderr=out
            )
        await eventually(lambda: self.is_(health))

    async def is_(self, health: str) -> bool:
        async with HttpClient(self.url) as http:
            with contextlib.suppress(RbeeError):
                return bool((await http.call("GET", "/health"))["status"] == health)
        return False

    async def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.process.wait()


@contextlib.asynccontextmanager
async def two_queens(folder: Path, database: str) -> AsyncIterator[tuple[Process, Process, Reigning]]:
    first, second = Process(folder, database), Process(folder, database)
    await first.start("ok")
    try:
        await second.start("standby")
        async with Reigning(f"{first.url}, {second.url}", HttpClient) as http:
            yield first, second, http
    finally:
        for each in (first, second):
            if each.process is not None:
                await each.end(signal.SIGKILL)


async def test_the_one_that_stands_by_answers_with_who_reigns(tmp_path: Path, where: str) -> None:
    async with two_queens(tmp_path, where) as (first, second, _), HttpClient(second.url, source="queen") as http:
        for method, path in (("GET", "/v2/tasks"), ("POST", "/v2/tasks"), ("GET", "/v1/models"), ("GET", "/v2/pools")):
            with pytest.raises(Standby, match=f"this queen stands by: {first.url} reigns") as refused:
                await http.call(method, path)
            assert refused.value.hint == f"ask {first.url}"
            assert refused.value.details["active"] == first.url
        assert f'queen.stands_by why="this queen stands by: {first.url} reigns"' in second.log.read_text()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_stream_goes_on_at_the_other_queen(tmp_path: Path, where: str, how: signal.Signals) -> None:
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        two_queens(tmp_path, where) as (first, second, http),
    ):
        client = QueenClient(http)
        worker.pause_at = 20
        await client.heartbeat("blep", pool.snapshot())
        job = await client.submit_job(SPEC)
        waiting = await client.submit_job(SPEC)
        seen: list[tuple[int, JobEvent]] = []

        async def read() -> None:
            async for numbered in client.job_events(job.id):
                seen.append(numbered)

        async def speak() -> None:
            await client.heartbeat("blep", pool.snapshot())

        pool.speak = speak
        reading = asyncio.create_task(read())
        await soon(lambda: sum(isinstance(event, Token) for _, event in seen) == 20)
        began_s = time.monotonic()
        await first.end(how)
        await eventually(lambda: second.is_("ok"))
        worker.pause_at = None
        worker.open.set()
        async with asyncio.timeout(SOON_S):
            await reading
        assert time.monotonic() - began_s < SOON_S
        assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
        assert text_of(seen) == words(40)
        assert next(request.id for request in worker.requests) == job.id
        assert worker.cancelled == []
        assert (await client.get_job(job.id)).attempts == 1
        async with asyncio.timeout(SOON_S):
            assert text_of([each async for each in client.job_events(waiting.id)]) == words(40)
        await first.start("standby")
        assert {each.state for each in await client.list_jobs(JobQuery())} == {JobState.COMPLETED}
        pool.speak = None


async def test_one_whose_reign_was_taken_ends_so_that_systemd_starts_her_again(
    cluster: Server, tmp_path: Path, where: str
) -> None:
    async with two_queens(tmp_path, where) as (first, second, _):
        cluster.sql("UPDATE reign SET number = number + 1", where)
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'", where)
        await eventually(lambda: second.is_("ok"))
        assert first.process is not None
        assert await first.process.wait() == os.EX_TEMPFAIL
        assert "another queen reigns" in first.log.read_text()


async def test_a_database_that_is_not_there_yet_is_waited_for(cluster: Server, tmp_path: Path, where: str) -> None:
    cluster.stop()
    queen = Process(tmp_path, where)
    try:
        await queen.start("no_database")
        async with HttpClient(queen.url, source="queen") as http:
            with pytest.raises(RbeeError, match="the queen's database .* cannot be used") as refused:
                await http.call("GET", "/v2/tasks")
        assert (refused.value.code, refused.value.details["retry_after_s"]) == ("no_capacity", 5)
        cluster.start()
        await eventually(lambda: queen.is_("ok"))
        assert await queen.end(signal.SIGTERM) == 0
    finally:
        await queen.end(signal.SIGKILL)


async def test_a_wrong_database_ends_her_with_the_code_of_a_wrong_setting(tmp_path: Path, where: str) -> None:
    queen = Process(tmp_path, where.replace("/rbee_", "/not_"))
    config = tmp_path / "rbee.toml"
    config.write_text(f"[queen]\ndatabase = '{queen.database}'\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, f"--config={config}", f"--bind=127.0.0.1:{queen.port}",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == os.EX_CONFIG
    assert b"refuses us" in said
    assert b"does not exist" in said
