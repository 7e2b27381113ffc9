"""A queen that stops, is killed, or comes back: nothing acknowledged is lost, no gap, no double."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.errors import Conflict, PoolUnreachable, RbeeError
from rbee.queen.store import jobs
from rbee.wire.events import Failure, JobEvent, Metrics, Started, Token
from rbee.wire.jobs import JobQuery, JobSpec, JobState
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.support.ports import free_port
from tests.unit.queen.conftest import SOON_S, eventually, running, soon, text_of, words

RUN = "from rbee.queen.main import main; main()"


def spec(**facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": "hello", "max_tokens": 40, **facts})  # type: ignore[arg-type]


@dataclass
class Process:
    """queen-rbee as its own process, to be killed."""

    directory: Path
    port: int = field(default_factory=free_port)
    pools: str = ""
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        environ = {
            **os.environ,
            "RBEE_QUEEN_DATABASE": str(self.directory / "queen.sqlite"),
            "RBEE_QUEEN_POOLS": self.pools,
            "RBEE_CONFIG": str(self.directory / "rbee.toml"),
        }
        with (self.directory / "queen.log").open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RUN, f"--bind=127.0.0.1:{self.port}", env=environ, stderr=out
            )
        await eventually(self.serves)

    async def serves(self) -> bool:
        async with HttpClient(self.url) as http:
            try:
                await http.call("GET", "/health")
            except RbeeError:
                return False
            return True

    async def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.process.wait()


@contextlib.asynccontextmanager
async def queen_process(directory: Path, pools: str = "") -> AsyncIterator[Process]:
    (directory / "rbee.toml").write_text("")
    made = Process(directory, pools=pools)
    await made.start()
    try:
        yield made
    finally:
        await made.end(signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_stream_survives_the_queen(tmp_path: Path, how: signal.Signals) -> None:
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        queen_process(tmp_path) as process,
        HttpClient(process.url) as http,
    ):
        client = QueenClient(http)
        worker.pause_at = 20
        await client.heartbeat("blep", pool.snapshot())
        job = await client.submit_job(spec())
        seen: list[tuple[int, JobEvent]] = []

        async def read() -> None:
            async for numbered in client.job_events(job.id):
                seen.append(numbered)

        reading = asyncio.create_task(read())
        await soon(lambda: sum(isinstance(event, Token) for _, event in seen) == 20)
        await process.end(how)
        worker.pause_at = 30
        worker.open.set()
        await soon(lambda: len(worker.generations[job.id].events) == 31)
        await process.start()
        assert (await client.get_job(job.id)).state is JobState.RUNNING
        await client.heartbeat("blep", pool.snapshot())
        worker.open.set()
        async with asyncio.timeout(SOON_S):
            await reading
        assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
        assert text_of(seen) == words(40)
        assert worker.attached_after == [21]
        assert worker.cancelled == []
        assert len(worker.requests) == 1
        again = [numbered async for numbered in client.job_events(job.id, 10)]
        assert again == seen[10:]
        done = await client.get_job(job.id)
        assert (done.state, done.tokens_out, done.attempts) == (JobState.COMPLETED, 40, 1)


async def test_accepted_jobs_wait_again_in_their_order(tmp_path: Path) -> None:
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        queen_process(tmp_path) as process,
        HttpClient(process.url) as http,
    ):
        client = QueenClient(http)
        accepted = [(await client.submit_job(spec(max_tokens=1))).id for _ in range(10)]
        await process.end(signal.SIGKILL)
        await process.start()
        kept = await client.list_jobs(JobQuery(state=JobState.QUEUED))
        assert [job.id for job in reversed(kept)] == accepted
        await client.heartbeat("blep", pool.snapshot())
        for job in accepted:
            async for _ in client.job_events(job):
                pass
        assert [asked.id for asked in worker.requests] == accepted


def spoil(path: Path, job: str) -> None:
    """Make what is kept of ``job`` something that this version cannot read."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE job SET spec = json_set(spec, '$.top_k', 'many') WHERE id = ?", (job,))


async def test_who_reads_a_job_that_is_being_failed_reads_how_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "q") as queen:
        broken = (await queen.client.submit_job(spec())).id
    spoil(tmp_path / "q", broken)
    read, record = threading.Event(), jobs.record
    monkeypatch.setattr(jobs, "record", lambda *change: (read.wait(SOON_S), record(*change)))
    async with running(tmp_path / "q") as queen:
        reading = asyncio.create_task(queen.frames(f"/v2/tasks/{broken}/events"))
        await soon(lambda: queen.queen.jobs.readers() or reading.done())
        read.set()
        assert [frame.event for frame in await reading] == ["queued", "error"]
        await soon(lambda: not queen.queen.jobs.live)


async def test_a_row_that_cannot_be_read_fails_that_job_and_not_the_queen(tmp_path: Path) -> None:
    async with running(tmp_path / "q") as queen:
        broken, fine = [(await queen.client.submit_job(spec(max_tokens=1))).id for _ in range(2)]
    spoil(tmp_path / "q", broken)
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        running(tmp_path / "q") as queen,
    ):
        (_, told) = (await queen.ended(broken))[-1]
        assert isinstance(told, Failure) and "another version of rbee" in told.message and "top_k" in told.message
        await queen.hear(pool)
        assert text_of(await queen.ended(fine)) == words(1)


async def test_known_and_configured_pools_are_woken_at_start(tmp_path: Path) -> None:
    async with FakePool("blep").serve() as pool, FakePool("mac").serve() as configured:
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
        async with running(tmp_path / "q", pools=(configured.url,)) as queen:
            async with asyncio.timeout(SOON_S):
                await pool.woken.wait()
                await configured.woken.wait()
            (known,) = await queen.client.list_pools()
            assert (known.id, known.state, known.url) == ("blep", "lost", pool.url)


async def test_a_job_that_nobody_can_take_wakes_the_configured_pool(tmp_path: Path) -> None:
    async with FakePool("blep").serve() as pool, running(tmp_path / "q", pools=(pool.url,)) as queen:
        await soon(lambda: pool.asked)
        before = pool.asked
        await queen.client.submit_job(spec())
        await soon(lambda: pool.asked > before)


async def test_a_generation_the_worker_forgot_is_tried_again_when_nothing_was_delivered(tmp_path: Path) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            worker.pause_at = 0
            await queen.hear(pool)
            job = await queen.client.submit_job(spec(max_tokens=3))
            await soon(lambda: worker.requests)
        await worker.die()
        worker.pause_at = None
        worker.open.set()
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            assert text_of(await queen.ended(job.id)) == words(3)


async def test_a_generation_the_worker_forgot_is_gone_on_with_from_what_was_delivered(tmp_path: Path) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            worker.pause_at = 2
            await queen.hear(pool)
            job = await queen.client.submit_job(spec())
            await soon(lambda: queen.queen.jobs.live[job.id].tokens == 2)
        await worker.die()
        worker.pause_at = None
        worker.open.set()
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            events = await queen.ended(job.id)
            assert text_of(events) == words(40)
            assert [number for number, _ in events] == list(range(1, len(events) + 1))
            assert [e.resumed_on for _, e in events if isinstance(e, Metrics)] == ["blep:worker-cpu-0"]
            assert sum(isinstance(event, Started) for _, event in events) == 1


async def test_stopping_ends_streams_and_no_generation(tmp_path: Path) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        async with running(tmp_path / "q") as queen:
            worker.pause_at = 2
            await queen.hear(pool)
            frames: list[str] = []

            async def attached() -> None:
                async for frame in queen.http.stream("POST", "/v2/tasks", body=spec(id="mine")):
                    frames.append(frame.event)

            reading = asyncio.create_task(attached())
            await soon(lambda: frames.count("token") == 2)
            await queen.queen.stop()
            with contextlib.suppress(PoolUnreachable):
                await reading
            late = await queen.client.submit_job(spec(id="late", max_tokens=1))
            assert late.state is JobState.QUEUED
        assert frames == ["queued", "started", "token", "token"]
        assert worker.cancelled == []
        worker.pause_at = None
        worker.open.set()
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
            assert text_of(await queen.ended("mine")) == words(40)
            assert text_of(await queen.ended("late")) == words(1)


async def test_the_second_queen_on_a_database_exits_73(tmp_path: Path) -> None:
    async with queen_process(tmp_path) as first:
        second = Process(tmp_path)
        environ = {
            **os.environ,
            "RBEE_QUEEN_DATABASE": str(tmp_path / "queen.sqlite"),
            "RBEE_CONFIG": str(tmp_path / "rbee.toml"),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, f"--bind=127.0.0.1:{second.port}", env=environ, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == os.EX_CANTCREAT
        assert b"another queen uses the database" in said
        assert b'hint="systemctl status rbee-queen, or name another [queen] database"' in said
        assert await first.serves()


async def test_a_pool_id_stays_with_its_instance_over_a_restart(tmp_path: Path) -> None:
    async with FakePool("blep").serve() as pool, FakePool("blep").serve() as impostor:
        impostor.instance = "somebody-else"
        async with running(tmp_path / "q") as queen:
            await queen.hear(pool)
        async with running(tmp_path / "q") as queen:
            with pytest.raises(Conflict, match="pool blep belongs to another host"):
                await queen.hear(impostor)
            await queen.client.remove_pool("blep")
            await queen.hear(impostor)
            assert (await queen.client.get_pool("blep")).url == impostor.url
